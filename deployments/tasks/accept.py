"""The accept: one transaction that writes a task, what it may cost, and the key under which it can be asked for again.

    lock the tenant ─► answered before? ─► admit ─► place in fair order ─► write

The tenant's row is locked first, so all submissions of one tenant are judged one after another: no budget is overspent
and no key makes two tasks, however many copies race. Other tenants' submissions go on beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Double, Row, ScalarSelect, Select, Text, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from deployments.database.schema import (
    HAS_STARTED,
    WAS_CLAIMED,
    database_now,
    idempotency_keys,
    is_in_state,
    task_bodies,
    task_requests,
    tasks,
    tenants,
)
from deployments.errors import CallRefused, KeyReused, Unauthenticated
from deployments.tasks import statements
from deployments.tasks.rows import fault_columns, from_row, to_row
from deployments.tasks.settle import end
from deployments.tasks.task import Fault, Task
from deployments.tenants.directory import tenant_of
from deployments.tenants.quotas import Ask, Standing, admit

_TENANT = bindparam("this_tenant", type_=Text)
_MODEL = bindparam("this_model", type_=Text)
_IS_QUEUED = is_in_state("queued")
_FINISH = tasks.c.fair_key + tasks.c.work_units / tasks.c.weight

#: Read a tenant and the time, and keep everybody else from judging a submission of that tenant meanwhile.
LOCK_TENANT = select(tenants, database_now().label("now_s")).where(tenants.c.id == _TENANT).with_for_update()

#: Read which task a key has made, and of what call.
FIND_ANSWERED = (
    select(idempotency_keys.c.fingerprint, tasks)
    .join(tasks, tasks.c.id == idempotency_keys.c.task_id)
    .where(idempotency_keys.c.tenant_id == _TENANT, idempotency_keys.c.key == bindparam("this_key", type_=Text))
)

#: Add up what waits for a tenant, and where its unfinished work of one model ends in fair order.
MEASURE = select(
    func.count().filter(_IS_QUEUED).label("queued"),
    func.coalesce(func.sum(tasks.c.work_units).filter(_IS_QUEUED), 0.0).label("queued_units"),
    func.min(tasks.c.created_at).filter(_IS_QUEUED).label("oldest"),
    func.max(_FINISH).filter(tasks.c.model == _MODEL).label("finish"),
).where(tasks.c.tenant_id == _TENANT, is_in_state("queued", "running"))

_CLAIMED = select(_FINISH).where(tasks.c.tenant_id == _TENANT, tasks.c.model == _MODEL, WAS_CLAIMED)
_FURTHEST = select(tasks.c.fair_key).where(tasks.c.model == _MODEL, HAS_STARTED)
_NEXT_UP = select(func.min(tasks.c.fair_key)).where(tasks.c.model == _MODEL, _IS_QUEUED)


def _last(started: Select[Any]) -> ScalarSelect[Any]:
    return started.order_by(tasks.c.fair_key.desc()).limit(1).scalar_subquery()


#: Read how far fair order has come for one model, to the furthest task that was ever started or else to the next one,
#: and where the work ends that was started for a tenant. Not to the furthest that still runs: when only an old one
#: does, order would go back, and whoever comes then would pass those who wait.
PLACE = select(
    func.coalesce(_last(_FURTHEST), _NEXT_UP.scalar_subquery(), 0.0).label("now"), _last(_CLAIMED).label("finish")
)

#: Hold what a task may cost, and use up a share of the tenant's pace.
HOLD = (
    update(tenants)
    .where(tenants.c.id == _TENANT)
    .values(held=tenants.c.held + bindparam("price"), paced_until_s=bindparam("this_pace", type_=Double))
)

#: Write down an accepted task.
INSERT_TASK = insert(tasks)

#: Write down what an accepted task is to make.
INSERT_REQUEST = insert(task_requests)

#: Write down what a caller had sent.
INSERT_BODY = insert(task_bodies)

#: Write down which task a key has made.
INSERT_KEY = insert(idempotency_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceKey:
    """A caller's wish that a call, however often it arrives, counts once."""

    #: Chosen by the caller; its own within one tenant.
    key: str
    #: What tells one call from another, e.g. a hash of its path and body.
    fingerprint: str
    #: Whether a second use is refused even when the call is the same.
    is_single: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A task on its way into the store, with all that is written beside it."""

    #: Queued, with its price and work.
    task: Task
    #: What it is to make, as JSON.
    request: str
    #: Under which key it was sent, if any.
    once: OnceKey | None = None
    #: What the caller had sent, as JSON, if it will be shown again.
    body: str | None = None


def accept(connection: Connection, submission: Submission) -> Task:
    """Write a task, or find the one that the same call has made before.

    Raises:
        CallRefused: when the tenant may not have it; then nothing is written.
    """
    task = submission.task
    tenant_row = _lock(connection, task.tenant_id)
    if submission.once and not submission.once.is_single:
        answered = _answered(connection, task.tenant_id, submission.once)
        if answered is not None:
            return answered
    measured = connection.execute(MEASURE, {"this_tenant": task.tenant_id, "this_model": task.model}).one()
    ask = Ask(model=task.model, work_units=task.work_units, price=task.price)
    try:
        pace = admit(_standing(tenant_row, measured), ask)
    except CallRefused:
        # Whoever sends a call a second time must not hear that its first copy left no room for it.
        if submission.once and _answered(connection, task.tenant_id, submission.once):
            raise KeyReused from None
        raise
    key = _place(connection, task, measured.finish)
    _write(connection, submission, {"fair_key": key, **_of_tenant(task, tenant_row)})
    connection.execute(HOLD, {"this_tenant": task.tenant_id, "price": task.price, "this_pace": pace})
    return task


def refuse(connection: Connection, submission: Submission, fault: Fault) -> Task:
    """Write a task that has failed already: its call cannot be carried out, and its dialect says so later.

    It counts towards its tenant's pace and costs nothing.

    Raises:
        CallRefused: when the tenant may not have it; then nothing is written.
    """
    task = submission.task
    tenant_row = _lock(connection, task.tenant_id)
    answered = submission.once and _answered(connection, task.tenant_id, submission.once)
    if answered:
        return answered
    standing = Standing(tenant=tenant_of(tenant_row), now_s=tenant_row.now_s, queued=0, queued_units=0, oldest_wait_s=0)
    pace = admit(standing, Ask(model=task.model, work_units=0, price=0))
    _write(connection, submission, {"fair_key": 0.0, **_of_tenant(task, tenant_row)})
    connection.execute(HOLD, {"this_tenant": task.tenant_id, "price": 0, "this_pace": pace})
    end(connection, statements.REFUSE, {"this_id": task.id} | fault_columns(fault))
    return from_row(connection.execute(statements.READ, {"this_id": task.id, "this_tenant": task.tenant_id}).one())


def fair_key(*, virtual_now: float, finishes: Iterable[float | None]) -> float:
    """Return a task's place in the order of its model: where its tenant's work before it ends, or now.

    Args:
        virtual_now: how far the order has come.
        finishes: where work of the tenant ends, ``fair_key + work_units / weight``; None where there is none.

    Source: start-time fair queueing, Goyal, Vin and Cheng, 1996, section 2; the start tag, seen 2026-11.
    """
    return max([virtual_now, *(finish for finish in finishes if finish is not None)])


def _lock(connection: Connection, tenant_id: str) -> Row[Any]:
    row = connection.execute(LOCK_TENANT, {"this_tenant": tenant_id}).one_or_none()
    if row is None:  # deleted after its key was looked up
        raise Unauthenticated
    return row


def _answered(connection: Connection, tenant_id: str, once: OnceKey) -> Task | None:
    row = connection.execute(FIND_ANSWERED, {"this_tenant": tenant_id, "this_key": once.key}).one_or_none()
    if row is None:
        return None
    if row.fingerprint != once.fingerprint:
        raise KeyReused
    return from_row(row)


def _standing(row: Row[Any], measured: Row[Any]) -> Standing:
    return Standing(
        tenant=tenant_of(row),
        now_s=row.now_s,
        queued=measured.queued,
        queued_units=measured.queued_units,
        oldest_wait_s=0.0 if measured.oldest is None else row.now_s - measured.oldest,
    )


def _place(connection: Connection, task: Task, finish: float | None) -> float:
    place = connection.execute(PLACE, {"this_tenant": task.tenant_id, "this_model": task.model}).one()
    return fair_key(virtual_now=place.now, finishes=(finish, place.finish))


def _of_tenant(task: Task, row: Row[Any]) -> dict[str, float | None]:
    """Return what a task has of its tenant: its weight, and the shorter of both life times."""
    lifetimes = [each for each in (task.lifetime_s, row.lifetime_s) if each is not None]
    return {"weight": row.weight, "lifetime_s": min(lifetimes, default=None)}


def _write(connection: Connection, submission: Submission, place: dict[str, float | None]) -> None:
    task, once = submission.task, submission.once
    connection.execute(INSERT_TASK, to_row(task) | place)
    connection.execute(INSERT_REQUEST, {"task_id": task.id, "request": submission.request})
    if submission.body is not None:
        connection.execute(INSERT_BODY, {"task_id": task.id, "body": submission.body})
    if once is not None:
        key = {"tenant_id": task.tenant_id, "key": once.key, "fingerprint": once.fingerprint}
        _insert_key(connection, key | {"task_id": task.id, "created_at": task.created_at.timestamp()})


def _insert_key(connection: Connection, key: Mapping[str, Any]) -> None:
    try:
        connection.execute(INSERT_KEY, key)
    except IntegrityError as error:  # a single one's second use; of the others it is known before
        raise KeyReused from error
