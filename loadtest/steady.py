"""A steady stream of calls on a server: so many a second, come what may, each noted, and every task followed.

    of forty calls    two submit, one submits and holds the line until its picture is there, the others read

Dialects take turns. An answer that is none, is no 2xx, or says nothing of the task is a failed call, and it is not
repeated. In the end every task is read until it has ended, and then once more.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from loadtest.openloop.drive import ENDS
from loadtest.openloop.ledger import Ledger, reckon
from loadtest.openloop.order import Order
from loadtest.openloop.record import End, Record
from loadtest.openloop.speech import SPEECHES, Ask, Seen, Speech, State, speech_of
from loadtest.openloop.wire import Answer, NoAnswer, Wire

#: Of how many calls one holds the line, and two submit.
ROUND = 40
#: Seconds until a call is given up, and between two reads of a task at the end.
CALL_S, REREAD_S = 300.0, 0.5
#: Something to ask while there are no tasks.
BALANCE = Ask(method="GET", path="/api/v3/balance")
TINY = Order(at_s=0, tenant="a", width=512, height=512, steps=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call and what came of it."""

    #: When it was due, in seconds on a clock that only grows.
    at_s: float
    #: ``submit``, ``hold`` or ``read``.
    kind: str
    #: Seconds until its answer was there.
    took_s: float
    #: What was wrong with it, in words that can be counted; empty when nothing was.
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A task that was accepted."""

    #: Its id.
    task_id: str
    #: The words in which it is asked for.
    speech: Speech
    #: What is known of it.
    seen: Seen


class Steady:
    """Calls a server at a steady rate until told to stop."""

    def __init__(self, wire: Wire, *, key: str, rate: float) -> None:
        """Take the way to the server, a tenant's key, and how many calls there are in a second."""
        self._wire = wire
        self._key = key
        self._rate = rate
        self._speeches = cycle([(name, speech_of(name)) for name in SPEECHES])
        self._tasks: dict[str, Followed] = {}
        self._open: deque[str] = deque()
        #: Every call that was answered or given up.
        self.calls: list[Call] = []

    def __repr__(self) -> str:
        """Say how it goes."""
        failed = sum(bool(call.error) for call in self.calls)
        return f"<Steady [{len(self.calls)} calls, {failed} failed | {len(self._tasks)} tasks, {len(self._open)} open]>"

    async def run(self, stopping: asyncio.Event) -> None:
        """Call at the rate until told to stop, and return once every call is answered."""
        loop = asyncio.get_running_loop()
        started_s, number = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while not stopping.is_set():
                due_s = started_s + number / self._rate
                await asyncio.sleep(max(due_s - loop.time(), 0))
                group.create_task(self._call(number, due_s))
                number += 1

    async def settle(self, *, patience_s: float) -> Ledger:
        """Read every task until it has ended, then once more, and reckon."""
        until_s = asyncio.get_running_loop().time() + patience_s
        while self._open and asyncio.get_running_loop().time() < until_s:
            if not await self._read_again(self._tasks[self._open[0]], "settle"):
                await asyncio.sleep(REREAD_S)
        before = list(self._tasks.values())
        for task in before:
            await self._read_again(task, "settle")
        again = {task.task_id: self._tasks[task.task_id].seen for task in before}
        return reckon([_record(task) for task in before], again=again)

    async def _call(self, number: int, due_s: float) -> None:
        if number % ROUND == ROUND // 4:
            await self._hold(due_s)
        elif number % (ROUND // 2) == 0:
            await self._submit(due_s)
        elif self._open:
            self._open.rotate(-1)
            await self._read_again(self._tasks[self._open[-1]], "read", due_s)
        else:
            await self._answer("read", BALANCE, due_s)

    async def _submit(self, due_s: float) -> None:
        name, speech = next(self._speeches)
        ask = speech.submission(replace(TINY, dialect=name), webhook="")
        answer = await self._answer("submit", ask, due_s, scheme=speech.scheme)
        task_id = speech.accepted(answer.body) if answer else None
        if task_id:
            self._follow(Followed(task_id=task_id, speech=speech, seen=Seen(state=State.WAITING)))
        elif answer:
            self._blame("no task")

    async def _hold(self, due_s: float) -> None:
        speech = speech_of("wavespeed")
        ask = speech.submission(TINY, webhook="")
        body: dict[str, Any] = json.loads(ask.body) | {"enable_sync_mode": True}
        answer = await self._answer("hold", replace(ask, body=json.dumps(body).encode()), due_s)
        task_id = speech.accepted(answer.body) if answer else None
        if answer and task_id:
            seen = speech.seen(answer.status, answer.body) or Seen(state=State.WAITING)
            self._follow(Followed(task_id=task_id, speech=speech, seen=seen))
        elif answer:
            self._blame("no task")

    async def _read_again(self, task: Followed, kind: str, due_s: float | None = None) -> bool:
        """Read where a task is, and return whether it has ended."""
        ask = task.speech.reading(task.task_id)
        answer = await self._answer(kind, ask, due_s, scheme=task.speech.scheme, may_be=(404,))
        seen = task.speech.seen(answer.status, answer.body) if answer else None
        if answer and (seen is None or seen.state is State.GONE):
            self._blame("says nothing of the task" if seen is None else "knows no such task")
        if seen is not None:
            self._follow(replace(task, seen=seen))
        return seen is not None and seen.state in ENDS

    def _follow(self, task: Followed) -> None:
        is_new, has_ended = task.task_id not in self._tasks, task.seen.state in ENDS
        self._tasks[task.task_id] = task
        if is_new and not has_ended:
            self._open.append(task.task_id)
        if not is_new and has_ended and task.task_id in self._open:
            self._open.remove(task.task_id)

    async def _answer(
        self, kind: str, ask: Ask, due_s: float | None, *, scheme: str = "Bearer", may_be: Sequence[int] = ()
    ) -> Answer | None:
        """Send a call once and note what came of it; None when it failed."""
        loop = asyncio.get_running_loop()
        at_s = loop.time() if due_s is None else due_s
        answer, error = None, ""
        try:
            answer = await self._wire.send(ask, authorization=f"{scheme} {self._key}", timeout_s=CALL_S)
        except NoAnswer as no_answer:
            error = str(no_answer)
        if answer and not 200 <= answer.status < 300 and answer.status not in may_be:
            error, answer = f"HTTP {answer.status}", None
        self.calls.append(Call(at_s=at_s, kind=kind, took_s=loop.time() - at_s, error=error))
        return answer

    def _blame(self, error: str) -> None:
        self.calls[-1] = replace(self.calls[-1], error=error)

    def ends(self) -> dict[str, int]:
        """Count the tasks by what is known of them."""
        return dict(Counter(str(task.seen.state) for task in self._tasks.values()))


def _record(task: Followed) -> Record:
    return Record(order=TINY, task_id=task.task_id, end=ENDS.get(task.seen.state, End.UNFINISHED))
