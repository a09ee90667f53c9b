"""The three doors through which a tenant's address leads outside, and what came of calls through them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployments.delivery.presigned_put import put_picture
from deployments.errors import AddressRefused, NotReached, UploadFailed
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.refused import ReferenceRefused
from loadtest.ssrf.authority import Authority
from loadtest.ssrf.network import Listeners, Names

#: What a guarded call may end with besides an answer.
TYPED = (ReferenceRefused, AddressRefused, UploadFailed, NotReached)

Door = Callable[[GuardedClient, str], Awaitable[object]]


async def fetch(client: GuardedClient, url: str) -> object:
    """Bring a reference."""
    return await ReferenceFetcher(client).fetch(url, tenant_id="alice")


async def tell(client: GuardedClient, url: str) -> object:
    """Post what a webhook sends, as it is sent."""
    plain: dict[str, Any] = {"headers": {}, "body": b"{}", "max_redirects": 0, "max_answer_bytes": 4096}
    return await client.of("alice").send("POST", url, **plain)


async def put(client: GuardedClient, url: str) -> None:
    """Send a picture to where its tenant wants it, once."""
    plain: dict[str, Any] = {"content": b"x", "content_type": "image/png", "tenant_id": "alice"}
    await put_picture(client, url, pauses_s=(), **plain)


DOORS: Mapping[str, Door] = {"reference": fetch, "webhook": tell, "upload": put}


@dataclass(slots=True, kw_only=True)
class Found:
    """What came of the calls of one scene."""

    #: Calls made.
    calls: int = 0
    #: Those that were answered.
    answered: int = 0
    #: Connections that reached a forbidden address.
    forbidden: int = 0
    #: Longest call, in seconds.
    slowest_s: float = 0.0
    #: How often each reason was given.
    reasons: Counter[str] = field(default_factory=Counter)
    #: Calls that ended with an error of no known kind, or otherwise than they had to.
    wrong: list[str] = field(default_factory=list)

    async def call(self, door: Door, client: GuardedClient, url: str, *, may_answer: bool | None = None) -> None:
        """Make one call; where it is said, it has to be answered, or must not be."""
        began_s, is_answered = time.monotonic(), False
        try:
            await door(client, url)
            is_answered = True
        except TYPED as refusal:
            self.reasons[refusal.message] += 1
        except Exception as error:  # noqa: BLE001 -- whatever it is, that it can happen is what we look for
            self.wrong.append(f"{url!r}: {error!r}")
        self.calls += 1
        self.answered += is_answered
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        if may_answer is not None and is_answered != may_answer:
            self.wrong.append(f"{url!r}: {'' if is_answered else 'not '}answered")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The small world, and the guard in it."""

    #: Answers for names.
    names: Names
    #: See every connection.
    listeners: Listeners
    #: The guard as it stands before every door.
    client: GuardedClient
    #: Whom its certificates are from.
    authority: Authority

    async def run(self, calls: Iterable[tuple[Door, str, bool | None]], found: Found, *, at_once: int = 64) -> Found:
        """Make calls beside one another; count what they did."""
        before, turn = self.listeners.forbidden, asyncio.Semaphore(at_once)

        async def one(door: Door, url: str, may_answer: bool | None) -> None:  # noqa: FBT001 -- a row of a table
            async with turn:
                await found.call(door, self.client, url, may_answer=may_answer)

        await asyncio.gather(*(one(*call) for call in calls))
        found.forbidden += self.listeners.forbidden - before
        return found
