"""What a load has to be able to say in a dialect, and to understand. Pure: makes and reads bodies, sends nothing.

A new dialect is one class with these members and one line in ``SPEECHES``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any, Protocol

from loadtest.openloop.order import Order


class State(StrEnum):
    """Where a task is, as a caller sees it."""

    #: Accepted and not begun.
    WAITING = "waiting"
    #: Begun.
    WORKING = "working"
    #: Its pictures are there.
    SUCCEEDED = "succeeded"
    #: It has ended without.
    FAILED = "failed"
    #: It was taken back.
    CANCELLED = "cancelled"
    #: The server knows no such task.
    GONE = "gone"


#: States that a webhook tells of.
ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one read, or one webhook, says of a task."""

    #: Where it is.
    state: State
    #: Why it failed, shortened to what can be counted.
    error: str = ""
    #: What the server says about that, cut by ``sample``.
    message: str = ""
    #: How many pictures a success has links to, each counted once; None where that was not said.
    pictures: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One HTTP call."""

    #: In upper case.
    method: str
    #: Path and query.
    path: str
    #: The body, or nothing.
    body: bytes = b""


class Speech(Protocol):
    """One provider's language, from the caller's side."""

    #: What stands before the key in ``Authorization``.
    scheme: str
    #: Seconds between two reads where the provider's own package leaves it at its default.
    poll_s: float

    def askable(self, order: Order) -> Order:
        """Return what is nearest to an order and can be asked for; what can be, comes back as it is."""

    def submission(self, order: Order, *, webhook: str) -> Ask:
        """Ask for an order that ``askable`` made; bad orders are bad here. ``webhook`` is an address or empty."""

    def accepted(self, body: Mapping[str, Any]) -> str | None:
        """Return the id of the task that a 2xx answer to a submission names."""

    def reading(self, task_id: str) -> Ask:
        """Ask where a task is."""

    def seen(self, status: int, body: Mapping[str, Any]) -> Seen | None:
        """Understand an answer to ``reading``; None when it says nothing of the task, as a 503 does not."""

    def showing(self, task_id: str) -> Ask | None:
        """Ask for the pictures of a success; None where ``reading`` shows them."""

    def shown(self, body: Mapping[str, Any]) -> int:
        """Count the pictures in an answer to ``showing``."""

    def cancelling(self, task_id: str) -> Ask | None:
        """Take a task back; None where the provider has no words for that."""

    def told(self, body: Mapping[str, Any]) -> tuple[str, Seen] | None:
        """Understand a webhook: which task, and where it is."""


#: Characters of what a server says that are kept.
SAMPLE = 200

#: Where each speech is; loaded by name, as the dialects of the service are.
SPEECHES: Mapping[str, str] = MappingProxyType(
    {
        "wavespeed": "loadtest.openloop.wavespeed:WaveSpeed",
        "fal": "loadtest.openloop.fal:Fal",
        "runware": "loadtest.openloop.runware:Runware",
    }
)


def speeches_of(names: Iterable[str]) -> dict[str, Speech]:
    """Return the words of some dialects."""
    return {name: speech_of(name) for name in sorted(set(names))}


@cache
def speech_of(name: str) -> Speech:
    """Load the words of a dialect; they remember nothing, so all may share them."""
    speech: Speech = resolve_name(SPEECHES[name])()
    return speech


def wire(content: object) -> bytes:
    """Write a body as JSON."""
    return json.dumps(content).encode("ascii")


def sample(said: object) -> str:
    """Cut what a stranger says to what fits into a line and can be printed; nothing of what is no text."""
    words = " ".join(said.split()) if isinstance(said, str) else ""
    return "".join(letter for letter in words if letter.isprintable())[:SAMPLE]


def links(values: object) -> int:
    """Count the addresses in a list, or data URIs; what comes twice is one picture."""
    found = values if isinstance(values, list) else []
    return len({each for each in found if isinstance(each, str) and each.startswith(("http://", "https://", "data:"))})


def mapping(value: object) -> Mapping[str, Any]:
    """Take what should be an object as one; anything else is an empty one, for answers come from strangers."""
    return value if isinstance(value, dict) else {}
