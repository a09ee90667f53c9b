"""What an operator sees and does, across all tenants.

    list, show, depth       read, on the database's clock
    cancel, replay, purge   as the store would, whoever's task it is

Shows what a task is to make, but no reference's content and no link's query, for that may hold a signature. Knows
nothing of how any of it is printed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, Row, delete

from deployments.clock import utc_now
from deployments.database.database import Database
from deployments.database.schema import is_in_state, tasks
from deployments.errors import CallRefused, FaultKind, Unauthenticated, Unavailable, UxoError
from deployments.tasks import overview_statements as statements
from deployments.tasks.accept import OnceKey
from deployments.tasks.request_json import UnreadableRequest, decode_request
from deployments.tasks.rows import from_row
from deployments.tasks.shortened import without_contents
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task, TaskState, is_task_id
from models.request import GenerationRequest

#: Tasks that one transaction of a purge deletes at most, so that no other writer waits long.
PURGE_AT_ONCE = 500
#: What came of a task in a replay of many, where it was not refused; somebody else was first in the second case.
ACCEPTED, MEANWHILE = "accepted", "meanwhile"

_ENDED = tuple(state for state in TaskState if state.is_terminal)


class NoSuchTask(UxoError):
    """There is no task of that id."""


class CannotReplay(UxoError):
    """The task cannot be replayed."""


class CannotPurge(UxoError):
    """Only ended tasks can be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLine:
    """A task as a list shows it."""

    #: 32 lower-case hex digits.
    id: str
    #: Whose it is.
    tenant_id: str
    #: Catalog name of the model.
    model: str
    #: Where it is in its life.
    state: TaskState
    #: Claims so far.
    attempt: int
    #: Denoising steps taken, over all its pictures.
    steps_done: int
    #: Denoising steps to take.
    steps_total: int
    #: What it costs when it succeeds, in millionths of a dollar.
    price: int
    #: When it was accepted.
    created_at: datetime
    #: When it ended.
    finished_at: datetime | None
    #: Why it failed, once failed.
    fault_kind: FaultKind | None
    #: The database's clock when this was read.
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """All that is known of one task."""

    #: The task.
    task: Task
    #: What it is to make, its references shortened; None when that was forgotten, or is of another version.
    request: GenerationRequest | None
    #: Which replica has it, or had it last.
    claimed_by: str | None
    #: Until when its replica may go without a sign of life.
    lease_expires_at: datetime | None
    #: What it has cost, in millionths of a dollar.
    charged: int
    #: The tasks that repeat it, the oldest first.
    replays: tuple[str, ...]
    #: The database's clock when this was read.
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much waits and runs."""

    #: Tasks that wait.
    queued: int
    #: Tasks that run.
    running: int
    #: Work units that wait.
    queued_units: float
    #: How long ago the oldest waiting task was accepted, in seconds.
    oldest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The work of one model for one tenant."""

    #: Catalog name of the model.
    model: str
    #: Whose work it is.
    tenant_id: str
    #: How much of it there is.
    load: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """All unfinished work."""

    #: By model and tenant; who has none is left out.
    queues: tuple[Queue, ...]
    #: The sum; its oldest is the oldest of all.
    total: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay of many did."""

    #: Tasks that wait again, under new ids.
    accepted: int
    #: Tasks that do not, by reason.
    refused: Mapping[str, int]


class Overview:
    """Everybody's tasks; every method raises Unavailable while the database cannot be reached.

    Args:
        database: an open, migrated database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._store = TaskStore(database)

    async def list(
        self,
        *,
        tenant_id: str | None = None,
        state: TaskState | None = None,
        model: str | None = None,
        limit: int = 50,
    ) -> Sequence[TaskLine]:
        """Read the newest tasks, of one tenant, state or model where one is named."""
        chosen = statements.LIST
        if tenant_id is not None:
            chosen = chosen.where(tasks.c.tenant_id == tenant_id)
        if state is not None:
            chosen = chosen.where(is_in_state(state))
        if model is not None:
            chosen = chosen.where(tasks.c.model == model)
        return [_line(row) for row in await self._database.rows(chosen, {"at_most": limit})]

    async def show(self, task_id: str) -> TaskRecord:
        """Read all that is known of one task.

        Raises:
            NoSuchTask: when there is none of that id.
        """
        row = await self._one(statements.SHOW, task_id)
        values = {"this_tenant": row.tenant_id, "this_id": row.id}
        replays = await self._database.rows(statements.READ_REPLAYS, values)
        return TaskRecord(
            task=from_row(row),
            request=await asyncio.to_thread(_shown, row.request),
            claimed_by=row.claimed_by,
            lease_expires_at=_moment(row.lease_expires_at),
            charged=row.amount or 0,
            replays=tuple(replay.id for replay in replays),
            seen_at=datetime.fromtimestamp(row.seen_at, UTC),
        )

    async def depth(self) -> Depth:
        """Add up what waits and what runs."""
        queues = tuple(
            Queue(model=row.model, tenant_id=row.tenant_id, load=_load(row))
            for row in await self._database.rows(statements.DEPTH)
        )
        return Depth(queues=queues, total=_sum([queue.load for queue in queues]))

    async def cancel(self, task_id: str) -> bool:
        """End a queued or running task; False when it has ended already.

        Raises:
            NoSuchTask: when there is none of that id.
        """
        row = await self._one(statements.FIND_TENANT, task_id)
        return await self._store.cancel(task_id, tenant_id=row.tenant_id)

    async def replay(self, task_id: str) -> str:
        """Have a failed task's request made again as a new task of the same tenant, within its limits and money.

        Returns:
            The new task's id.

        Raises:
            NoSuchTask: when there is none of that id.
            CannotReplay: when it has not failed, its request is gone or cannot be read, or its tenant is gone.
            CallRefused: when the tenant may not have one more task.
        """
        task, request = await self._repeat_of(task_id)
        return (await self._accept(task, request)).id

    async def replay_quarantined(self, *, tenant_id: str | None = None) -> Replayed:
        """Replay every quarantined task that was not replayed before, the oldest first, of one tenant or of all.

        Run at the same time by two operators, it still makes one new task of each.
        """
        chosen = statements.READ_QUARANTINED
        if tenant_id is not None:
            chosen = chosen.where(tasks.c.tenant_id == tenant_id)
        found = await self._database.rows(chosen)
        outcomes = Counter([await self._replay_once(row.id) for row in found])
        outcomes.pop(MEANWHILE, None)
        accepted = outcomes.pop(ACCEPTED, 0)
        return Replayed(accepted=accepted, refused=dict(outcomes))

    async def purge(self, *, older_than_s: float, tenant_id: str | None = None, state: TaskState | None = None) -> int:
        """Delete tasks that ended more than ``older_than_s`` ago; what was charged for them stays written down.

        A task that repeats another is kept as long as that one.

        Returns:
            How many it deleted.

        Raises:
            CannotPurge: when ``state`` is one in which a task has not ended.
        """
        if state is not None and not state.is_terminal:
            raise CannotPurge(f"a {state} task has not ended; cancel it first")
        chosen = statements.READ_PURGEABLE.where(is_in_state(*([state] if state else _ENDED)))
        if tenant_id is not None:
            chosen = chosen.where(tasks.c.tenant_id == tenant_id)
        statement = delete(tasks).where(tasks.c.id.in_(chosen))
        values = {"older_than_s": older_than_s, "at_most": PURGE_AT_ONCE}
        deleted = 0
        # Until there is nothing left, not until a batch is small: a replay can go only once its original has gone.
        while batch := await self._database.write(lambda connection: connection.execute(statement, values).rowcount):
            deleted += batch
        return deleted

    async def _one(self, statement: Executable, task_id: str) -> Row[Any]:
        is_id = is_task_id(task_id)  # what no task can have as its id may be more than a database can be asked
        rows = await self._database.rows(statement, {"this_id": task_id}) if is_id else []
        if not rows:
            raise NoSuchTask(f"there is no task {task_id}")
        return rows[0]

    async def _repeat_of(self, task_id: str) -> tuple[Task, GenerationRequest]:
        row = await self._one(statements.SHOW, task_id)
        return _again(from_row(row)), await asyncio.to_thread(_whole_request, row.request)

    async def _accept(self, task: Task, request: GenerationRequest, once: OnceKey | None = None) -> Task:
        try:
            return await self._store.accept(task, request, once=once)
        except Unauthenticated as error:
            raise CannotReplay(f"its tenant {task.tenant_id} is gone") from error

    async def _replay_once(self, task_id: str) -> str:
        """Replay a task under a key of its own, and say what came of it."""
        # A key with a line break: no call can carry it, so no tenant can have used it.
        once = OnceKey(key=f"replay\n{task_id}", fingerprint="replay")
        try:
            task, request = await self._repeat_of(task_id)
            accepted = await self._accept(task, request, once)
        except Unavailable:  # not this task's fault; what has been replayed is found to be when this is run again
            raise
        except NoSuchTask:
            return MEANWHILE
        except (CannotReplay, CallRefused) as error:
            return error.message
        return ACCEPTED if accepted.id == task.id else MEANWHILE


def _line(row: Row[Any]) -> TaskLine:
    return TaskLine(
        id=row.id,
        tenant_id=row.tenant_id,
        model=row.model,
        state=TaskState(row.state),
        attempt=row.attempt,
        steps_done=row.steps_done,
        steps_total=row.steps_total,
        price=row.price,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        finished_at=_moment(row.finished_at),
        fault_kind=None if row.fault_kind is None else FaultKind(row.fault_kind),
        seen_at=datetime.fromtimestamp(row.seen_at, UTC),
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _shown(text: str | None) -> GenerationRequest | None:
    try:
        return None if text is None else without_contents(decode_request(text))
    except UnreadableRequest:
        return None


def _load(row: Row[Any]) -> Load:
    # A task is accepted by the clock of a process, which may be ahead of the database's.
    oldest_s = None if row.oldest_s is None else max(row.oldest_s, 0.0)
    return Load(queued=row.queued, running=row.running, queued_units=row.queued_units, oldest_s=oldest_s)


def _sum(loads: Sequence[Load]) -> Load:
    return Load(
        queued=sum(load.queued for load in loads),
        running=sum(load.running for load in loads),
        queued_units=sum(load.queued_units for load in loads),
        oldest_s=max((load.oldest_s for load in loads if load.oldest_s is not None), default=None),
    )


def _again(task: Task) -> Task:
    if task.state is not TaskState.FAILED:
        raise CannotReplay(f"only failed tasks are replayed, and this one is {task.state}")
    return Task(
        id=secrets.token_hex(16),
        tenant_id=task.tenant_id,
        model=task.model,
        dialect=task.dialect,
        notes=task.notes,
        sinks=task.sinks,
        webhook=task.webhook,
        upload_url=task.upload_url,
        lifetime_s=task.lifetime_s,
        created_at=utc_now(),
        work_units=task.work_units,
        price=task.price,
        steps_total=task.steps_total,
        replay_of=task.id,
    )


def _whole_request(text: str | None) -> GenerationRequest:
    if text is None:
        raise CannotReplay("its request is gone")
    try:
        return decode_request(text)
    except UnreadableRequest as error:
        raise CannotReplay("its request is of another version and cannot be read") from error
