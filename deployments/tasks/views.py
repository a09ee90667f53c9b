"""What a tenant may see of its tasks besides one task by its id: lists, keys, places, bodies; and deleting them.

Every question names the tenant, so nobody sees a stranger's task. Knows no dialect and no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Integer, Row, Select, Text, bindparam, func, select, update

from deployments.database.database import Database
from deployments.database.schema import database_now, idempotency_keys, is_in_state, task_bodies, tasks
from deployments.tasks.rows import from_row
from deployments.tasks.settle import count, end
from deployments.tasks.statements import CANCEL, WITHOUT_INLINE
from deployments.tasks.task import Task, TaskState, is_task_id

#: Tasks before one in the queue that are counted; beyond it the exact number tells nobody anything.
MAX_PLACE = 1000

_TENANT = bindparam("this_tenant", type_=Text)
_SHOWN = (tasks.c.tenant_id == _TENANT, tasks.c.deleted_at.is_(None))

#: Read the task that a key has made.
READ_ONCE = (
    select(tasks)
    .join(idempotency_keys, idempotency_keys.c.task_id == tasks.c.id)
    .where(
        *_SHOWN, idempotency_keys.c.tenant_id == _TENANT, idempotency_keys.c.key == bindparam("this_key", type_=Text)
    )
)

#: Read what a caller had sent.
READ_BODY = select(task_bodies.c.body).where(task_bodies.c.task_id == bindparam("this_id", type_=Text))

_SELF = select(tasks.c.fair_key).where(tasks.c.id == bindparam("this_id", type_=Text)).scalar_subquery()
#: Count the tasks of a model that stand before one, up to a number that is enough to know.
COUNT_BEFORE = select(func.count()).select_from(
    select(tasks.c.id)
    .where(tasks.c.model == bindparam("this_model", type_=Text), is_in_state("queued"), tasks.c.fair_key < _SELF)
    .limit(bindparam("at_most", type_=Integer))
    .subquery()
)

#: Show a task to nobody any more.
DELETE = (
    update(tasks)
    .where(
        tasks.c.id == bindparam("this_id", type_=Text),
        tasks.c.dialect == bindparam("this_dialect", type_=Text),
        *_SHOWN,
    )
    .values(deleted_at=database_now(), erase_at=0.0)
)

#: Count what has ended and what has not, by model.
COUNT_BY_STATE = select(
    tasks.c.model,
    tasks.c.state,
    func.count().label("tasks"),
    func.sum(tasks.c.inference_ms).label("inference_ms"),
    func.sum(tasks.c.started_at - tasks.c.created_at).label("waited_s"),
    func.max(tasks.c.finished_at).label("finished_at"),
).group_by(tasks.c.model, tasks.c.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which of a tenant's tasks are listed, newest first."""

    #: In which dialect they were accepted.
    dialect: str
    #: Which page, counted from 1.
    page: int
    #: Tasks of one page.
    page_size: int
    #: Only of this model.
    model: str | None = None
    #: Only in one of these states; empty means any.
    states: tuple[TaskState, ...] = ()
    #: Only accepted at this moment or later.
    created_from: datetime | None = None
    #: Only accepted before this moment.
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """How many tasks of a model are in one state, and what they took."""

    #: Tasks.
    tasks: int
    #: Time that replicas spent on them, in milliseconds.
    inference_ms: int
    #: Time for which they waited, in milliseconds.
    waited_ms: int
    #: When the last of them ended.
    finished_at: datetime | None


class TaskViews:
    """A tenant's view of the store; every method raises Unavailable while the database cannot be reached.

    Args:
        database: an open, migrated database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def once(self, key: str, *, tenant_id: str) -> Task | None:
        """Read the task that a key has made; None when there is none, or no more."""
        rows = await self._database.rows(READ_ONCE, {"this_tenant": tenant_id, "this_key": key})
        return from_row(rows[0]) if rows else None

    async def body(self, task_id: str) -> str | None:
        """Read what a caller had sent; None when it was not kept."""
        rows = await self._database.rows(READ_BODY, {"this_id": task_id})
        return rows[0].body if rows else None

    async def place(self, task: Task) -> int:
        """Count the tasks that stand before a waiting one, up to ``MAX_PLACE``."""
        values = {"this_id": task.id, "this_model": task.model, "at_most": MAX_PLACE}
        [counted] = await self._database.rows(COUNT_BEFORE, values)
        return int(counted[0])

    async def page(self, query: Query, *, tenant_id: str) -> tuple[list[Task], int]:
        """Read a page of a tenant's tasks, and how many there are on all pages.

        Pictures that lie in the rows of tasks without any elsewhere are left out.
        """
        narrowed = _narrowed(query)
        values = {"this_tenant": tenant_id}
        [counted] = await self._database.rows(select(func.count()).select_from(narrowed.subquery()), values)
        newest_first = narrowed.order_by(tasks.c.created_at.desc(), tasks.c.id.desc())
        page = newest_first.limit(query.page_size).offset((query.page - 1) * query.page_size)
        return [from_row(row) for row in await self._database.rows(page, values)], int(counted[0])

    async def delete(self, task_ids: Sequence[str], *, dialect: str, tenant_id: str) -> list[str]:
        """End a tenant's tasks if they have not ended yet, and show them to nobody any more.

        What they hold is due to be erased from now on.

        Returns:
            The ids of those that were there.
        """
        # Everyone takes rows in the same order, so no two can wait for each other.
        asked = sorted(filter(is_task_id, set(task_ids)))
        if not asked:
            return []

        def work(connection: Connection) -> dict[str, Sequence[Row[Any]] | None]:
            mine = {"this_tenant": tenant_id, "this_dialect": dialect}
            return {one: _delete_one(connection, {"this_id": one, **mine}) for one in asked}

        ended = await self._database.write(work)
        deleted = {task_id: rows for task_id, rows in ended.items() if rows is not None}
        for rows in deleted.values():
            count(rows)
        return list(deleted)

    async def count(self) -> Mapping[tuple[str, TaskState], StateCount]:
        """Count all tenants' tasks by model and state."""
        rows = await self._database.rows(COUNT_BY_STATE)
        return {(row.model, TaskState(row.state)): _count_of(row) for row in rows}


def _narrowed(query: Query) -> Select[Any]:
    conditions = [*_SHOWN, tasks.c.dialect == query.dialect]
    if query.model is not None:
        conditions.append(tasks.c.model == query.model)
    if query.states:
        conditions.append(tasks.c.state.in_(query.states))
    if query.created_from is not None:
        conditions.append(tasks.c.created_at >= query.created_from.timestamp())
    if query.created_before is not None:
        conditions.append(tasks.c.created_at < query.created_before.timestamp())
    return select(*WITHOUT_INLINE).where(*conditions)


def _delete_one(connection: Connection, values: Mapping[str, str]) -> Sequence[Row[Any]] | None:
    """Return what ended with it; None when it was not there."""
    if not connection.execute(DELETE, values).rowcount:
        return None
    return end(connection, CANCEL, {name: values[name] for name in ("this_id", "this_tenant")})


def _count_of(row: Row[Any]) -> StateCount:
    return StateCount(
        tasks=row.tasks,
        inference_ms=int(row.inference_ms or 0),
        waited_ms=round((row.waited_s or 0.0) * 1000),
        finished_at=None if row.finished_at is None else datetime.fromtimestamp(row.finished_at, UTC),
    )
