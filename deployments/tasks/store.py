"""The task store: the truth about every accepted task.

    accept ─► queued ─ claim ─► running ─ succeed | fail ─► ended
                ▲                  │
                └─ release, rescue ┘        cancel: from queued or running, ended

Every move is one conditional statement, committed before the call returns. Knows nothing of HTTP, models or Ray, and
asks no clock but the database's.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import structlog
from sqlalchemy import Connection, Executable

from deployments.database.database import Database, open_database
from deployments.tasks import statements
from deployments.tasks.accept import OnceKey, Submission, accept, refuse
from deployments.tasks.claim import ANYTHING_WAITS, NO_RESTRAINT, Appetite, Restraint, claim
from deployments.tasks.request_json import UnreadableRequest, decode_request, encode_request
from deployments.tasks.rows import fault_columns, from_row, read_preview, success_columns, write_outputs, write_preview
from deployments.tasks.settle import count, end
from deployments.tasks.task import Beat, Claim, Fault, Output, Preview, Success, Task, TaskState, is_task_id
from deployments.tasks.waterfall import Part, write_spent
from models.request import GenerationRequest

log = structlog.get_logger(__name__)

#: How long a key counts, in seconds; a call that comes again later is a new one.
KEEP_KEYS_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """What one round of rescue did."""

    #: Tasks that wait again.
    requeued: int
    #: Tasks that were given up, after their last attempt.
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What one round of forgetting deleted."""

    #: Tasks that ended long ago.
    tasks: int
    #: Requests of tasks that need them no more.
    requests: int


class TaskStore:
    """Tasks in a database; every method raises Unavailable while that cannot be reached.

    Args:
        database: an open, migrated database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open the store at ``url``; a SQLite file is made and migrated if it has to be.

        Raises:
            Unavailable: when a SQLite file cannot be opened.
            ValueError: when the URL names a SQLite database in memory.
        """
        return cls(await open_database(url))

    async def close(self) -> None:
        """Let running writes end and close the connections."""
        await self._database.close()

    async def accept(
        self, task: Task, request: GenerationRequest, *, once: OnceKey | None = None, body: str | None = None
    ) -> Task:
        """Write a task and its request; once this returns, they survive any crash.

        Args:
            task: queued.
            request: what it is to make.
            once: under which key it was sent; of all calls under one key, the first makes the task.
            body: what the caller had sent, as JSON, if it will be shown again.

        Returns:
            The task, or the one that the same call has made before.

        Raises:
            CallRefused: when the tenant may not have it, or the key belongs to another call; nothing was written.
            ValueError: when the task is not a queued one.
            sqlalchemy.exc.IntegrityError: when the id is taken.
        """
        if task.state is not TaskState.QUEUED:
            raise ValueError(f"a task enters the store queued, not {task.state}")
        # Off the event loop: a request of 50 MB takes a third of a second.
        text = await asyncio.to_thread(encode_request, request)
        submission = Submission(task=task, request=text, once=once, body=body)
        return await self._database.write(lambda connection: accept(connection, submission))

    async def refuse(self, task: Task, fault: Fault, *, once: OnceKey | None = None, body: str | None = None) -> Task:
        """Write a task that has failed already, for callers who hear of their mistakes later.

        Raises:
            CallRefused: when the tenant may not have it; nothing was written.
        """
        submission = Submission(task=task, request="", once=once, body=body)
        return await self._database.write(lambda connection: refuse(connection, submission, fault))

    async def read(self, task_id: str, *, tenant_id: str) -> Task | None:
        """Read a tenant's task; None when there is none such, or it is another tenant's."""
        if not is_task_id(task_id):
            return None
        rows = await self._database.rows(statements.READ, {"this_id": task_id, "this_tenant": tenant_id})
        return from_row(rows[0]) if rows else None

    async def read_state(self, task_id: str, *, tenant_id: str) -> Task | None:
        """Read a tenant's task without the pictures that lie in its row, which take long to read."""
        if not is_task_id(task_id):
            return None
        rows = await self._database.rows(statements.READ_STATE, {"this_id": task_id, "this_tenant": tenant_id})
        return from_row(rows[0]) if rows else None

    async def claim(
        self,
        *,
        models: Sequence[str],
        limit: int,
        replica_id: str,
        lease_s: float,
        restraint: Restraint = NO_RESTRAINT,
    ) -> list[Claim]:
        """Take up to ``limit`` queued tasks, from the models in turn, each in its own fair order.

        A task whose request this version cannot read is left out: its lease ends, another version may read it, and
        after the last attempt it is quarantined.

        Args:
            models: catalog names, the one whose turn it is first.
            limit: at most so many; none for 0 or less.
            replica_id: who takes them, for people to read.
            lease_s: how long they stay taken without a beat.
            restraint: what is left to others.
        """
        if limit <= 0 or not models:
            return []
        [anything] = await self._database.rows(ANYTHING_WAITS, {"models": models})
        if not anything[0]:  # idle replicas ask often, and must not stand in the way of those who write
            return []
        appetite = Appetite(models=models, limit=limit, replica_id=replica_id, lease_s=lease_s, restraint=restraint)
        taken = await self._database.write(lambda connection: claim(connection, appetite))
        return await self._with_requests([(from_row(row), rank, yields) for row, rank, yields in taken])

    async def beat(self, beats: Sequence[Beat], *, lease_s: float) -> frozenset[str]:
        """Note progress and renew leases; only a replica whose device moves may say so.

        Returns:
            The ids that are still this claim's; a replica drops the others: lost, cancelled or ended.
        """
        if not beats:
            return frozenset()

        def work(connection: Connection) -> frozenset[str]:
            # Everyone takes rows in the same order, so no two beats can wait for each other.
            ordered = sorted(beats, key=lambda beat: beat.task_id)
            return frozenset([beat.task_id for beat in ordered if _beat_one(connection, beat, lease_s)])

        return await self._database.write(work)

    async def note_preview(self, beat: Beat, preview: Preview) -> None:
        """Note what a claimed task looks like for those who follow it; nothing where the claim is no longer valid."""
        noted = {"this_steps": beat.steps_done, "this_preview": write_preview(preview)}
        values = _mine(beat.task_id, beat.fence) | noted
        await self._database.write(lambda connection: connection.execute(statements.NOTE_PREVIEW, values))

    async def read_preview(self, task: Task) -> Preview | None:
        """Read what a task looks like; None where it is not running, or nobody has noted it."""
        rows = await self._database.rows(statements.READ_PREVIEW, {"this_id": task.id, "this_tenant": task.tenant_id})
        return read_preview(rows[0].preview) if rows and rows[0].preview else None

    async def still_claimed(self, fences: Mapping[str, int]) -> frozenset[str]:
        """Tell which of some claims are good: not lost, cancelled or ended.

        Args:
            fences: of each claim, by the id of its task.
        """
        if not fences:
            return frozenset()
        rows = await self._database.rows(statements.READ_FENCES, {"task_ids": sorted(fences)})
        return frozenset(row.id for row in rows if row.fence == fences[row.id])

    async def alive(self, task_ids: Sequence[str]) -> frozenset[str]:
        """Tell which of some tasks have not ended."""
        rows = await self._database.rows(statements.READ_ALIVE, {"task_ids": task_ids})
        return frozenset(row.id for row in rows)

    async def succeed(self, task_id: str, *, fence: int, success: Success) -> bool:
        """End a claimed task well; False when the claim is no longer valid, and then nothing changed."""
        return await self._end(statements.SUCCEED, _mine(task_id, fence) | success_columns(success)) > 0

    async def fail(
        self,
        task_id: str,
        *,
        fence: int,
        fault: Fault,
        outputs: tuple[Output, ...] = (),
        spent: Mapping[Part, float] | None = None,
    ) -> bool:
        """End a claimed task badly, with what was placed of it and the seconds that each part of it took.

        Returns:
            False when the claim is no longer valid, and then nothing changed.
        """
        placed = {"this_outputs": write_outputs(outputs), "this_spent": write_spent(spent or {})}
        return await self._end(statements.FAIL, _mine(task_id, fence) | fault_columns(fault) | placed) > 0

    async def note_sent(self, task: Task, outputs: tuple[Output, ...]) -> None:
        """Write down the receipts of an ended task whose pictures were sent."""
        values = {"this_id": task.id, "this_outputs": write_outputs(outputs)}
        await self._database.write(lambda connection: connection.execute(statements.NOTE_SENT, values))

    async def release(self, task_id: str, *, fence: int) -> bool:
        """Hand a claimed task back to its old place in the queue, without blame: the attempt does not count.

        Returns:
            False when the claim is no longer valid, and then nothing changed.
        """
        values = _mine(task_id, fence)
        return await self._database.write(
            lambda connection: bool(connection.execute(statements.RELEASE, values).rowcount)
        )

    async def cancel(self, task_id: str, *, tenant_id: str) -> bool:
        """End a tenant's queued or running task; False when it has ended already, or is not there for this tenant.

        Once this returns, no picture of it is published.
        """
        if not is_task_id(task_id):
            return False
        return await self._end(statements.CANCEL, {"this_id": task_id, "this_tenant": tenant_id}) > 0

    async def rescue(self, *, max_attempts: int = 3) -> Rescued:
        """Queue again every task whose lease ran out, and give up those that had ``max_attempts`` attempts.

        Tasks that were not started in the time that their callers gave them are cancelled.
        """
        values = {"max_attempts": max_attempts}
        # Three transactions, so that a task that cannot be ended keeps no other from being rescued.
        requeued = await self._database.write(
            lambda connection: connection.execute(statements.REQUEUE, values).rowcount
        )
        try:
            quarantined = await self._end(statements.QUARANTINE, values)
        finally:
            await self._end(statements.EXPIRE, {})
        return Rescued(requeued=requeued, quarantined=quarantined)

    async def forget(self, *, keep_s: float, limit: int = 5000) -> Forgotten:
        """Delete tasks that ended more than ``keep_s`` ago, and the requests of all that ended well or were cancelled.

        Args:
            keep_s: how long an ended task can be read, in seconds.
            limit: at most so many of each, so that no other writer waits long; what is left is for the next round.
        """

        def work(connection: Connection) -> Forgotten:
            old = connection.execute(statements.FORGET_TASKS, {"keep_s": keep_s, "at_most": limit})
            requests = connection.execute(statements.FORGET_REQUESTS, {"at_most": limit})
            connection.execute(statements.FORGET_KEYS, {"keep_keys_s": KEEP_KEYS_S})
            return Forgotten(tasks=old.rowcount, requests=requests.rowcount)

        return await self._database.write(work)

    async def has_queued(self, number: int) -> bool:
        """Whether at least so many tasks wait, over all tenants and models."""
        [counted] = await self._database.rows(statements.COUNT_QUEUED, {"at_most": number})
        return bool(counted[0] >= number)

    async def backlog(self) -> Mapping[str, Mapping[TaskState, int]]:
        """Count queued and running tasks by model; a model without any is left out."""
        counts: dict[str, dict[TaskState, int]] = defaultdict(lambda: {TaskState.QUEUED: 0, TaskState.RUNNING: 0})
        for row in await self._database.rows(statements.BACKLOG):
            counts[row.model][TaskState(row.state)] = row.tasks
        return dict(counts)

    async def ping(self) -> None:
        """Return if the database answers."""
        await self._database.rows(statements.PING)

    async def _end(self, statement: Executable, values: Mapping[str, Any]) -> int:
        return count(await self._database.write(lambda connection: end(connection, statement, values)))

    async def _with_requests(self, tasks: Sequence[tuple[Task, int, bool]]) -> list[Claim]:
        # Read after the claim is committed: requests never change, and big ones must not hold up other writers.
        if not tasks:
            return []
        rows = await self._database.rows(statements.READ_REQUESTS, {"task_ids": [task.id for task, *_ in tasks]})
        texts = {row.task_id: row.request for row in rows}
        claims = [
            await asyncio.to_thread(_claim_of, task, texts.get(task.id, ""), rank=rank, yields=yields)
            for task, rank, yields in tasks
        ]
        return [claim for claim in claims if claim is not None]


def _mine(task_id: str, fence: int) -> dict[str, Any]:
    return {"this_id": task_id, "this_fence": fence}


def _beat_one(connection: Connection, beat: Beat, lease_s: float) -> bool:
    values = _mine(beat.task_id, beat.fence) | {"this_steps": beat.steps_done, "lease_s": lease_s}
    return bool((connection.execute(statements.BEAT, values)).rowcount)


def _claim_of(task: Task, text: str, *, rank: int, yields: bool) -> Claim | None:
    try:
        return Claim(task=task, request=decode_request(text), rank=rank, yields=yields)
    except UnreadableRequest as error:
        # Without a traceback: one that shows variables would show the prompt.
        log.error(  # noqa: TRY400 -- see above
            "request_unreadable", task_id=task.id, tenant_id=task.tenant_id, reason=str(error)
        )
        return None
