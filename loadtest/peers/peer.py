"""The servers of the comparison: how each is started and asked, and what it does not do. Pure.

A new one is a file in ``servers``, its pins in ``requirements`` and an entry in ``PEERS``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from loadtest.openloop.speech import Ask, mapping, wire
from loadtest.openloop.wire import Answer
from loadtest.peers.servers.fake_model import Item
from loadtest.peers.wish import SHAPES, Wish

#: The tenant that asks ours, and its key.
TENANT, KEY = "peers", "peers-0123456789abcdef"
#: The prompt that poisons one of ours.
POISON = "poison"

_SERVERS = "loadtest.peers.servers"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEnvironment:
    """A server that is installed apart, and the command that starts it there."""

    #: Name of its file of pins, without the ending.
    pins: str
    #: The package whose version is told.
    package: str
    #: A program of the environment and its arguments; ``{port}`` stands for the port, ``{root}`` for this source.
    command: Sequence[str]
    #: More environment variables; ``{port}`` and ``{root}`` stand for the same.
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRay:
    """An application that Ray Serve of this project's own environment runs."""

    #: Where its builder is.
    import_path: str
    #: Whether HAProxy stands before it, instead of Serve's own proxy.
    has_haproxy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One server."""

    #: By which the command line knows it.
    name: str
    #: How it is started.
    start: OwnEnvironment | OnRay
    #: Writes a wish as one call.
    ask: Callable[[Wish], Ask]
    #: Whether an answer to a call is what was wished for.
    is_good: Callable[[Answer], bool]
    #: How it is set up for batching.
    setting: str
    #: What it does not do, of what matters here.
    lacks: str


def item_of(wish: Wish) -> Item:
    """Write a wish as the fake model reads it."""
    return {"number": wish.number, "shape": wish.shape, "is_poisoned": wish.is_poisoned}


def _ask_ray(wish: Wish) -> Ask:
    return Ask(method="POST", path="/", body=wire(item_of(wish)))


def _ask_litserve(wish: Wish) -> Ask:
    return Ask(method="POST", path="/predict", body=wire(item_of(wish)))


def _ask_bentoml(wish: Wish) -> Ask:
    return Ask(method="POST", path="/run", body=wire({"items": [item_of(wish)]}))


def _ask_mosec(wish: Wish) -> Ask:
    return Ask(method="POST", path="/inference", body=wire(item_of(wish)))


def _ask_cog(wish: Wish) -> Ask:
    return Ask(method="POST", path="/predictions", body=wire({"input": item_of(wish)}))


def _ask_ours(wish: Wish) -> Ask:
    """Ask in Runware's words, which wait for the picture and need no reference."""
    width, height = SHAPES[wish.shape]
    task: dict[str, Any] = {
        "taskType": "imageInference",
        "taskUUID": str(uuid.uuid4()),
        "model": "bytedance:uno@1",
        "positivePrompt": POISON if wish.is_poisoned else "a mug",
        "width": width,
        "height": height,
        "steps": 1,
        "seed": wish.number + 1,
        "deliveryMethod": "sync",
    }
    return Ask(method="POST", path="/v1", body=wire([task]))


def _is_ok(answer: Answer) -> bool:
    return answer.status == 200


def _has_succeeded(answer: Answer) -> bool:
    """Whether Cog's prediction has; one that failed is answered with 200 as well."""
    return answer.status == 200 and answer.body.get("status") == "succeeded"


def _has_picture(answer: Answer) -> bool:
    """Whether ours has answered with the address of a picture."""
    found = answer.body.get("data")
    return answer.status == 200 and isinstance(found, list) and bool(found) and "imageURL" in mapping(found[0])


_NOTHING_KEPT = "nothing is kept: a call in flight ends with its process; no tenants"
_BLIND = "a batch holds any shapes, which our code runs one after another; one exception answers the whole batch"


def _ray(name: str, *, has_haproxy: bool) -> Peer:
    return Peer(
        name=name,
        start=OnRay(import_path=f"{_SERVERS}.bare_ray:build", has_haproxy=has_haproxy),
        ask=_ask_ray,
        is_good=_is_ok,
        setting="`@serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)`, `max_ongoing_requests=1024`",
        lacks=f"{_BLIND}; {_NOTHING_KEPT}",
    )


def _ours(name: str, *, has_haproxy: bool) -> Peer:
    return Peer(
        name=name,
        start=OnRay(import_path=f"{_SERVERS}.ours:build", has_haproxy=has_haproxy),
        ask=_ask_ours,
        is_good=_has_picture,
        setting="groups of up to 8 in the mode `throughput`, in which strangers share a call where it pays by the fake "
        "model's own costs; 24 tasks at the replica, SQLite, one step for a picture",
        lacks="cheap calls: each is three transactions on disk, an encoded picture and its file",
    )


_ALL = (
    Peer(
        name="mosec",
        start=OwnEnvironment(
            pins="mosec",
            package="mosec",
            command=("python", "-m", f"{_SERVERS}.mosec_server", "--port", "{port}", "--address", "127.0.0.1"),
        ),
        ask=_ask_mosec,
        is_good=_is_ok,
        setting="`max_batch_size=8`, `max_wait_time=10` ms, one worker",
        lacks=f"{_BLIND}; {_NOTHING_KEPT}",
    ),
    Peer(
        name="litserve",
        start=OwnEnvironment(
            pins="litserve", package="litserve", command=("python", "-m", f"{_SERVERS}.lit", "{port}")
        ),
        ask=_ask_litserve,
        is_good=_is_ok,
        setting="`max_batch_size=8`, `batch_timeout=0.01`, one worker",
        lacks=f"{_BLIND}; {_NOTHING_KEPT}",
    ),
    Peer(
        name="bentoml",
        start=OwnEnvironment(
            pins="bentoml",
            package="bentoml",
            command=("bentoml", "serve", f"{_SERVERS}.bento:FakeService", "-p", "{port}", "--host", "127.0.0.1"),
            environment=MappingProxyType({"BENTOML_DO_NOT_TRACK": "True"}),
        ),
        ask=_ask_bentoml,
        is_good=_is_ok,
        setting="`batchable=True`, `max_batch_size=8`, the adaptive window as it is, one worker",
        lacks=f"{_BLIND}; {_NOTHING_KEPT}",
    ),
    Peer(
        name="cog",
        start=OwnEnvironment(
            pins="cog",
            package="cog",
            command=("python", "-m", "cog.server.http", "--host", "127.0.0.1"),
            environment=MappingProxyType(
                {
                    "PORT": "{port}",
                    "COG_PREDICT_TYPE_STUB": "{root}/loadtest/peers/servers/cog_runner.py:FakeRunner",
                    "COG_MAX_CONCURRENCY": "32",
                    "COG_LOG_LEVEL": "warning",
                }
            ),
        ),
        ask=_ask_cog,
        is_good=_has_succeeded,
        setting="an asynchronous `run` with 32 slots, one item a call",
        lacks=f"no batching; a call beyond the slots is answered 409; {_NOTHING_KEPT}",
    ),
    _ray("ray", has_haproxy=False),
    _ray("ray-haproxy", has_haproxy=True),
    _ours("uxo", has_haproxy=False),
    _ours("uxo-haproxy", has_haproxy=True),
)

#: Every server, by name.
PEERS: Mapping[str, Peer] = MappingProxyType({peer.name: peer for peer in _ALL})

#: Those that are measured where none is named: each once, without the variants that HAProxy stands before.
USUAL: Sequence[str] = tuple(
    peer.name for peer in _ALL if not (isinstance(peer.start, OnRay) and peer.start.has_haproxy)
)
