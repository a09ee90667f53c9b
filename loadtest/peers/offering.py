"""Offers wishes to a server when they are due, whatever it does; latency counts from the due time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.openloop.wire import Answer, NoAnswer, Wire
from loadtest.peers.peer import KEY, Peer
from loadtest.peers.wish import Wish

#: Seconds after which an answer is given up.
PATIENCE_S = 15.0
#: How a server says that it has no room or no time, which is not the fault of a neighbour in a batch: Cog and mosec,
#: everybody, BentoML and Serve, LitServe.
BUSY = frozenset({408, 409, 429, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one wish."""

    #: The wish.
    wish: Wish
    #: Seconds by which it was sent late: the load's own fault, and part of the latency.
    late_s: float
    #: Seconds from its due time to its answer, or to when it was given up.
    latency_s: float
    #: HTTP status; None when there was no answer.
    status: int | None
    #: Whether the answer is what was wished for.
    is_good: bool

    @property
    def is_busy(self) -> bool:
        """Whether it was turned away for want of room or time."""
        return self.status in BUSY

    @property
    def has_failed(self) -> bool:
        """Whether it was answered, with an error of its own or of a neighbour."""
        return not self.is_good and not self.is_busy and self.status is not None


async def offer(wishes: Sequence[Wish], peer: Peer, wire: Wire) -> list[Told]:
    """Send every wish when it is due, and return what became of each, in their order."""
    started_s = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        sent = []
        for wish in wishes:
            # Sleeping for no time lets those under way go on, which a load that is late needs most.
            await asyncio.sleep(max(started_s + wish.at_s - asyncio.get_running_loop().time(), 0))
            sent.append(group.create_task(tell(wish, peer, wire, due_s=started_s + wish.at_s)))
    return [task.result() for task in sent]


async def tell(wish: Wish, peer: Peer, wire: Wire, *, due_s: float) -> Told:
    """Send a wish now, and return what becomes of it.

    Args:
        wish: what is asked for.
        peer: how it is said.
        wire: to whom.
        due_s: when it should have been sent, by the event loop's clock.
    """
    clock = asyncio.get_running_loop().time
    late_s = clock() - due_s
    answer: Answer | None
    try:
        answer = await wire.send(peer.ask(wish), authorization=f"Bearer {KEY}", timeout_s=PATIENCE_S)
    except NoAnswer:
        answer = None
    return Told(
        wish=wish,
        late_s=late_s,
        latency_s=clock() - due_s,
        status=None if answer is None else answer.status,
        is_good=answer is not None and peer.is_good(answer),
    )
