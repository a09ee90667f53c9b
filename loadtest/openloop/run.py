"""One run of a load against a server: greet it, drive, look at every task once more, reckon.

Ctrl-C ends the driving at once; what was under way is counted and reckoned with all the same.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_fixed,
)

from loadtest.file_limit import raise_file_limit
from loadtest.openloop.drive import Follower, Manner, drive
from loadtest.openloop.findings import findings
from loadtest.openloop.interruption import interruptions, is_cut_short
from loadtest.openloop.ledger import Ledger, reckon
from loadtest.openloop.letterbox import Letterbox, receiving
from loadtest.openloop.order import Order, tenants_of
from loadtest.openloop.record import Book, End, Record, after
from loadtest.openloop.slo import Goal, verdicts
from loadtest.openloop.speech import Seen, State, speeches_of
from loadtest.openloop.wire import NoAnswer, Wire, connected

#: Seconds after which a target that says nothing to a greeting is usually given up.
GREETING_S = 10.0
#: Tasks that are read a second time at once, and how long all of that may take.
READERS, REREADING_S = 16, 60.0
#: Seconds until what was not answered is read once more, and until a target that has no time is greeted once more.
REREAD_EVERY_S = 1.0
#: Seconds for which a run that is to leave nothing behind waits for what it cannot take back.
SETTLING_S = 300.0


class UnusableTarget(Exception):
    """No load can be put on the target; the message says why in one line."""


class BusyTarget(UnusableTarget):
    """No load can be put on the target for now: it is overloaded or broken, or does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is run against whom."""

    #: Every order, by due time, as its dialect can ask for it.
    orders: Sequence[Order]
    #: Start of every address.
    target: str
    #: Keys of tenants, dealt to the load's tenants in turn.
    keys: Sequence[str]
    #: Seconds between two reads; None means as each provider's package does it.
    poll_s: float | None
    #: Seconds after its due time at which an order is given up.
    patience_s: float
    #: Where the server reaches our receiver of webhooks, such as ``http://10.0.0.7:9000``; if empty, ends are read.
    webhooks_at: str = ""
    #: Seconds after which a target that says nothing to a greeting is given up.
    greeting_s: float = GREETING_S
    #: Seconds for which a target is waited for that has no time for a greeting, as after another load.
    recovery_s: float = 0.0
    #: What its orders were drawn or read from, as a report says it.
    source: Mapping[str, Any] = field(default_factory=dict)
    #: Seconds at the beginning whose orders are not judged.
    warm_up_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a load."""

    #: Every order that was sent.
    records: Sequence[Record]
    #: Orders that were not.
    not_sent: int
    #: From the first due time to the last end.
    wall_s: float
    #: The reckoning.
    ledger: Ledger
    #: Whether somebody stopped it.
    was_stopped: bool
    #: Seconds at the beginning whose orders are not judged.
    warm_up_s: float = 0.0

    def found(self, goals: Sequence[Goal]) -> dict[str, Any]:
        """Return the figures of a report; goals are held against what came after the warm-up."""
        judged = verdicts(goals, after(self.warm_up_s, self.records))
        return findings(
            self.records,
            wall_s=self.wall_s,
            not_sent=self.not_sent,
            ledger=self.ledger,
            verdicts=judged,
            warm_up_s=self.warm_up_s,
        )


async def perform(
    load: Load, *, watch: Callable[[Book], None], tell: Callable[[str], None] = lambda _line: None, clears: bool = False
) -> Result:
    """Run a load once.

    Args:
        load: what to run.
        watch: told about twice a second how it goes.
        tell: told in a line when the target is waited for.
        clears: whether what has no end yet is taken back afterwards, so that the next run begins with an idle server.

    Raises:
        UnusableTarget: when the target is down, refuses a key, or speaks another language.
        KeyboardInterrupt: when it is interrupted before the first order.
    """
    raise_file_limit()
    book, again = Book(load.orders), dict[str, Seen | None]()
    with interruptions() as came:
        async with _ways(load) as (wire, manner):
            if await is_cut_short(_greet_in_time(wire, manner, load, tell), came):
                raise KeyboardInterrupt
            started = time.monotonic()
            driving = drive(load.orders, book, wire=wire, manner=manner)
            was_stopped = await is_cut_short(driving, came, look=lambda: watch(book))
            wall_s = time.monotonic() - started
            book.close()
            reading = _read_again(book.records, again, wire=wire, manner=manner)
            was_stopped |= await is_cut_short(reading, came, look=lambda: watch(book))
            if clears and not was_stopped:
                was_stopped = await is_cut_short(_clear(book.records, wire=wire, manner=manner), came)
        told = manner.letterbox.ends_told() if manner.letterbox else None
        return Result(
            records=book.records,
            not_sent=book.not_sent,
            wall_s=wall_s,
            ledger=reckon(book.records, again=again, told=told),
            was_stopped=was_stopped or came.is_set(),
            warm_up_s=load.warm_up_s,
        )


@asynccontextmanager
async def _ways(load: Load) -> AsyncIterator[tuple[Wire, Manner]]:
    speeches = speeches_of({order.dialect for order in load.orders} or {"wavespeed"})
    tenants = tenants_of(load.orders)
    manner = Manner(
        keys={tenant: load.keys[number % len(load.keys)] for number, tenant in enumerate(tenants)},
        speeches=speeches,
        poll_s=load.poll_s,
        patience_s=load.patience_s,
    )
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(connected(load.target))
        if load.webhooks_at:
            letterbox = Letterbox(load.webhooks_at, speeches)
            await _open(letterbox, load.webhooks_at, stack)
            manner = replace(manner, letterbox=letterbox)
        yield wire, manner


async def _open(letterbox: Letterbox, address: str, stack: AsyncExitStack) -> None:
    port = int(address.rpartition(":")[2])
    try:
        await stack.enter_async_context(receiving(letterbox, host="0.0.0.0", port=port))  # noqa: S104 -- asked for
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise UnusableTarget(f"webhooks_at {address}: nothing can be received at that port here ({why})") from error


async def _greet_in_time(wire: Wire, manner: Manner, load: Load, tell: Callable[[str], None]) -> None:
    """Greet again and again for as long as the target may take to recover."""

    def say(state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome:
            tell(f"{state.outcome.exception()}; waited for, up to {load.recovery_s:g} s")

    until_greeted = AsyncRetrying(
        retry=retry_if_exception_type(BusyTarget),
        wait=wait_fixed(REREAD_EVERY_S),
        stop=stop_after_delay(load.recovery_s),
        before_sleep=say,
        reraise=True,
    )
    await until_greeted(_greet, wire, manner, load)


async def _greet(wire: Wire, manner: Manner, load: Load) -> None:
    """Ask with each key for a task that cannot be, in a dialect of the load."""
    name, speech = min(manner.speeches.items())
    for number, key in enumerate(load.keys, start=1):
        ask = speech.reading(str(uuid.uuid4()))
        try:
            answer = await wire.send(ask, authorization=f"{speech.scheme} {key}", timeout_s=load.greeting_s)
        except NoAnswer as error:
            raise BusyTarget(f"{load.target}: {error}") from error
        if answer.status in {401, 403}:
            raise UnusableTarget(f"{load.target}: refuses key number {number} with {answer.status}")
        if answer.status == 429 or answer.status >= 500:
            when = "after a load" if load.recovery_s else "before any load"
            raise BusyTarget(
                f"{load.target}: answered {answer.status} to {ask.path}; it is overloaded or broken {when}"
            )
        if not answer.body or speech.seen(answer.status, answer.body) is None:
            what = "" if answer.body else " and no JSON object"
            raise UnusableTarget(f"{load.target}: speaks no {name}; it answered {answer.status}{what} to {ask.path}")


async def _read_again(records: Sequence[Record], again: dict[str, Seen | None], *, wire: Wire, manner: Manner) -> None:
    follower = Follower(Book([]), wire=wire, manner=manner, started=0.0)
    turns = asyncio.Semaphore(READERS)
    until_answered = AsyncRetrying(retry=retry_if_result(lambda seen: seen is None), wait=wait_fixed(REREAD_EVERY_S))

    async def read(record: Record) -> None:
        async with turns:
            again[record.task_id] = await until_answered(follower.read, record.order, record.task_id)

    with suppress(TimeoutError):
        async with asyncio.timeout(REREADING_S), asyncio.TaskGroup() as group:
            for record in records:
                if record.task_id:
                    group.create_task(read(record))


async def _clear(records: Sequence[Record], *, wire: Wire, manner: Manner) -> None:
    """Take back what has no end yet, wait for the ends, and for what may have been accepted without an answer."""
    follower = Follower(Book([]), wire=wire, manner=manner, started=0.0)
    turns = asyncio.Semaphore(READERS)

    async def clear(record: Record) -> None:
        async with turns:
            await follower.take_back(record.order, record.task_id)
            await until_ended(follower.read, record.order, record.task_id)

    until_ended = AsyncRetrying(retry=retry_if_result(_is_open), wait=wait_fixed(REREAD_EVERY_S))
    unanswered = {record.order.tenant: record.order for record in records if record.end is End.UNANSWERED}
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLING_S), asyncio.TaskGroup() as group:
            for record in records:
                if record.end in {End.UNFINISHED, End.IN_FLIGHT} and record.task_id:
                    group.create_task(clear(record))
            for order in unanswered.values():
                group.create_task(_carry_out_one_more(order, wire=wire, manner=manner))


def _is_open(seen: Seen | None) -> bool:
    return seen is None or seen.state in {State.WAITING, State.WORKING}


async def _carry_out_one_more(order: Order, *, wire: Wire, manner: Manner) -> None:
    """Have a small order carried out: a tenant's tasks are begun in turn, so by then those before it have been."""
    small = replace(
        order, at_s=0.0, cancel_after_s=None, is_bad=False, steps=1, images=1, width=512, height=512, references=1
    )
    patient = replace(manner, letterbox=None, patience_s=SETTLING_S)
    started = asyncio.get_running_loop().time()
    await Follower(Book([small]), wire=wire, manner=patient, started=started).carry_out(0, small)
