"""The open loop: every order is sent when it is due, and followed to its end in a task of its own.

    due ──► submit ──► read, read, read … (or wait for the webhook) ──► end
                          └─► cancel, where the order says so

Nothing here waits for a slow answer before it sends the next order. Latency is counted from the due time, so what a
server keeps callers waiting for cannot hide; what the generator itself is late by is noted apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from loadtest.openloop.letterbox import Letterbox
from loadtest.openloop.order import Order
from loadtest.openloop.record import Book, End
from loadtest.openloop.speech import Ask, Seen, Speech, State, sample
from loadtest.openloop.wire import Answer, NoAnswer, Wire

#: Seconds after which one read is given up and made again.
READ_TIMEOUT_S = 30.0

ENDS: Mapping[State, End] = {
    State.SUCCEEDED: End.SUCCEEDED,
    State.FAILED: End.FAILED,
    State.CANCELLED: End.CANCELLED,
    State.GONE: End.LOST,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a run asks."""

    #: Each tenant's key.
    keys: Mapping[str, str]
    #: Each dialect's words.
    speeches: Mapping[str, Speech]
    #: Seconds between two reads; None means as each provider's package does it.
    poll_s: float | None
    #: Seconds after its due time at which an order is given up.
    patience_s: float
    #: Where webhooks come in; None means that ends are read.
    letterbox: Letterbox | None = None


async def drive(orders: Sequence[Order], book: Book, *, wire: Wire, manner: Manner) -> None:
    """Send every order when it is due and follow each; cancel this to stop at once, the book stays true."""
    started = asyncio.get_running_loop().time()
    follower = Follower(book, wire=wire, manner=manner, started=started)
    async with asyncio.TaskGroup() as group:
        for number, order in enumerate(orders):
            delay_s = started + order.at_s - asyncio.get_running_loop().time()
            # Sleeping for no time lets those under way go on, which a load that is late needs most.
            await asyncio.sleep(max(delay_s, 0))
            group.create_task(follower.carry_out(number, order))


class Follower:
    """Follows orders from submission to end."""

    def __init__(self, book: Book, *, wire: Wire, manner: Manner, started: float) -> None:
        self._book = book
        self._wire = wire
        self._manner = manner
        self._started = started

    async def carry_out(self, number: int, order: Order) -> None:
        """Submit one order and note everything that becomes of it."""
        self._book.note(number, lateness_s=max(self._now() - order.at_s, 0.0))
        try:
            async with asyncio.timeout_at(self._started + order.at_s + self._manner.patience_s):
                if task_id := await self._submit(number, order):
                    await self._follow(number, order, task_id)
        except TimeoutError:
            record = self._book.note(number)
            end = End.UNFINISHED if record.task_id else End.UNANSWERED
            self._book.note(number, end=end, error=f"{end} after {self._manner.patience_s:g} s")

    async def _submit(self, number: int, order: Order) -> str | None:
        speech = self._manner.speeches[order.dialect]
        letterbox = self._manner.letterbox
        ask = speech.submission(order, webhook=letterbox.address(order.dialect) if letterbox else "")
        try:
            answer = await self._wire.send(ask, authorization=self._authorization(order))
        except NoAnswer as error:
            why = sample(str(error.__cause__ or ""))
            self._book.note(number, end=End.UNANSWERED, error=str(error), message=why, ended_s=self._now())
            return None
        task_id = speech.accepted(answer.body) if 200 <= answer.status < 300 else None
        if task_id is None:
            is_right = order.is_bad and answer.status in range(400, 500) and answer.status != 429
            end, reason = (End.REJECTED, "") if is_right else (End.REFUSED, _refusal(answer))
            self._book.note(number, end=end, error=reason, message=answer.text, ended_s=self._now())
            return None
        self._book.note(number, accepted_s=self._now(), task_id=task_id)
        return task_id

    async def _follow(self, number: int, order: Order, task_id: str) -> None:
        speech = self._manner.speeches[order.dialect]
        if order.cancel_after_s is None or speech.cancelling(task_id) is None:
            return self._note_end(number, await self._end_of(number, order, task_id))
        early = await self._end_within(order.cancel_after_s, number, order, task_id)
        if early is not None:  # there is nothing left to take back
            return self._note_end(number, early)
        await self.take_back(order, task_id)
        # Of a task that was taken back no webhook tells, so it is read.
        seen = await self._read_until_end(number, order, task_id)
        return self._note_end(number, replace(seen, state=State.CANCELLED) if seen.state is State.GONE else seen)

    def _note_end(self, number: int, seen: Seen) -> None:
        known, end, error = self._book.note(number), ENDS[seen.state], seen.error
        now_s = self._now()
        if end is End.SUCCEEDED and known.order.is_bad:
            error = "bad input was carried out"
        if end is End.LOST:
            error = "the server lost it"
        # Where nobody saw it being worked on, it was first seen when it had ended: both are the same moment.
        moments = {"ended_s": now_s, "started_s": now_s if known.started_s is None else known.started_s}
        self._book.note(number, end=end, error=error, message=seen.message, pictures=seen.pictures, **moments)

    async def _end_within(self, seconds: float | None, number: int, order: Order, task_id: str) -> Seen | None:
        with suppress(TimeoutError):  # the order's own patience ends as a cancellation, which goes through here
            async with asyncio.timeout(seconds):
                return await self._end_of(number, order, task_id)
        return None

    async def _end_of(self, number: int, order: Order, task_id: str) -> Seen:
        letterbox = self._manner.letterbox
        if letterbox is not None:
            return await letterbox.first(order.dialect, task_id)
        return await self._read_until_end(number, order, task_id)

    async def _read_until_end(self, number: int, order: Order, task_id: str) -> Seen:
        speech = self._manner.speeches[order.dialect]
        while True:
            seen = await self.read(order, task_id)
            record = self._book.note(number, reads=self._book.note(number).reads + 1)
            if seen is not None and seen.state in ENDS:
                return seen
            if seen is not None and seen.state is State.WORKING and record.started_s is None:
                self._book.note(number, started_s=self._now())
            await asyncio.sleep(self._manner.poll_s or speech.poll_s)

    async def read(self, order: Order, task_id: str) -> Seen | None:
        """Read once where a task is, and its pictures when it has succeeded; None when no answer says it."""
        speech = self._manner.speeches[order.dialect]
        answer = await self._ask(speech.reading(task_id), order)
        seen = speech.seen(answer.status, answer.body) if answer else None
        showing = speech.showing(task_id)
        if seen is None or seen.state is not State.SUCCEEDED or showing is None:
            return seen
        shown = await self._ask(showing, order)
        # A server in trouble says nothing of the task; one that is not and shows no pictures has none.
        if shown is None or shown.status >= 500 or shown.status == 429:
            return None
        return replace(seen, pictures=speech.shown(shown.body))

    async def _ask(self, ask: Ask, order: Order) -> Answer | None:
        try:
            return await self._wire.send(ask, authorization=self._authorization(order), timeout_s=READ_TIMEOUT_S)
        except NoAnswer:
            return None

    async def take_back(self, order: Order, task_id: str) -> None:
        """Ask once for the end of a task, where the provider has words for that."""
        ask = self._manner.speeches[order.dialect].cancelling(task_id)
        if ask is not None:
            await self._ask(ask, order)

    def _authorization(self, order: Order) -> str:
        return f"{self._manner.speeches[order.dialect].scheme} {self._manner.keys[order.tenant]}"

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._started


def _refusal(answer: Answer) -> str:
    return f"HTTP {answer.status}" if answer.status >= 300 else f"HTTP {answer.status} without a task"
