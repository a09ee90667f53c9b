"""Six places around the accept at which a gateway can die, planted around the product's parts from outside.

    after read ─► after validate ─► in transaction ─► after commit ─► mid answer ─► after answer

A gateway is armed with one of them, and dies there as a process does that is killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from enum import StrEnum
from typing import Any

from acceptance.chaos.doors import Database, Result
from acceptance.chaos.journal import Journal
from sqlalchemy import Connection, Executable, Row

from deployments.dialects.dialect import Call, Route
from deployments.dialects.wavespeed import WaveSpeed
from deployments.operations.operation import Cancel, Operation
from deployments.tasks.accept import OnceKey
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task
from models.request import GenerationRequest

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]


class CrashPoint(StrEnum):
    """Where a gateway dies."""

    #: The body is there, nothing has looked at it.
    AFTER_READ = "after read"
    #: The call is understood, nothing is written.
    AFTER_VALIDATE = "after validate"
    #: Everything is written, nothing is committed.
    IN_TRANSACTION = "in transaction"
    #: The task is durable, nobody has been told.
    AFTER_COMMIT = "after commit"
    #: The caller has half of the answer.
    MID_ANSWER = "mid answer"
    #: The caller has the answer.
    AFTER_ANSWER = "after answer"


class Fuse:
    """Ends this process when it passes an armed point."""

    def __init__(self, armed: CrashPoint | None, *, after_s: float, journal: Journal) -> None:
        """Take the point, how long to live before it is armed in seconds, and where to note the end."""
        self._armed = armed
        self._armed_at = time.monotonic() + after_s
        self._journal = journal

    def is_due(self, point: CrashPoint) -> bool:
        """Tell whether the process dies at a point that it passes now."""
        return point is self._armed and time.monotonic() >= self._armed_at

    def blow(self, point: CrashPoint) -> None:
        """Die, as a process does that is killed."""
        self._journal.write("crash point", point=point)
        os.kill(os.getpid(), signal.SIGKILL)

    def hit(self, point: CrashPoint) -> None:
        """Pass a point, and die if it is time."""
        if self.is_due(point):
            self.blow(point)

    def around(self, application: Application) -> Application:
        """Put the points of the answer around a web application."""

        async def armed(scope: Any, receive: Receive, send: Send) -> None:
            is_submit = scope["type"] == "http" and scope["method"] == "POST"
            await application(scope, receive, self._answering(send) if is_submit else send)

        return armed

    def _answering(self, send: Send) -> Send:
        async def answer(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            if self.is_due(CrashPoint.MID_ANSWER):
                await send({**message, "body": message["body"][: len(message["body"]) // 2], "more_body": True})
                self.blow(CrashPoint.MID_ANSWER)
            await send(message)
            self.hit(CrashPoint.AFTER_ANSWER)

        return answer


class ArmedDialect(WaveSpeed):
    """WaveSpeed's language with two of the points, and a cancel after which the task can still be read."""

    routes: Sequence[Route] = (
        Route(method="DELETE", path="/api/v3/predictions/{id}", name="cancel"),
        *WaveSpeed.routes,
    )

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse

    def parse(self, route: Route, call: Call) -> Operation:
        """Read a call, passing the points before and after that if it is a submission."""
        if route.name == "cancel":
            return Cancel(task_id=call.path_params["id"])
        if not route.name.startswith("submit"):
            return super().parse(route, call)
        self._fuse.hit(CrashPoint.AFTER_READ)
        operation = super().parse(route, call)
        self._fuse.hit(CrashPoint.AFTER_VALIDATE)
        return operation


class ArmedStore(TaskStore):
    """A store with the two points around the commit of an accept."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        super().__init__(database)
        self._fuse = fuse
        self._accepting = TaskStore(_ArmedDatabase(database, fuse))

    async def accept(
        self, task: Task, request: GenerationRequest, *, once: OnceKey | None = None, body: str | None = None
    ) -> Task:
        """Write a task, passing the points inside and behind the transaction."""
        accepted = await self._accepting.accept(task, request, once=once, body=body)
        self._fuse.hit(CrashPoint.AFTER_COMMIT)
        return accepted


class _ArmedDatabase:
    """A database in whose transactions a process can die."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        self._database = database
        self._fuse = fuse

    async def rows(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        return await self._database.rows(statement, values)

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        def armed(connection: Connection) -> Result:
            result = work(connection)
            self._fuse.hit(CrashPoint.IN_TRANSACTION)
            return result

        return await self._database.write(armed)

    async def close(self) -> None:
        await self._database.close()
