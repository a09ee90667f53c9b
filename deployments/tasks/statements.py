"""The statements that move, read and forget tasks, one per purpose, built once; accept and claim have their own.

A move of a task is one conditional update: its ``where`` is the guard, so two callers never both win and there is no
race to explain. Knows nothing of connections. Bound names start with ``this_`` where a column has the plain name.
"""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from deployments.database.schema import HAS_STARTED, database_now, idempotency_keys, is_in_state, task_requests, tasks
from deployments.errors import FaultKind, Quarantined
from deployments.tasks.task import TaskState
from deployments.tasks.waterfall import WAITED_TO_THE_END

_THIS_ID = bindparam("this_id", type_=Text)
_THIS_TENANT = bindparam("this_tenant", type_=Text)
_STEPS = bindparam("this_steps", type_=Integer)
_LEASE_S = bindparam("lease_s", type_=Double)

#: What a task gives up when it is no longer running; ``claimed_by`` stays, to say which replica had it last.
_NO_LEASE = {"lease_expires_at": None}
#: What every end of a task brings: no lease, no preview, no address that is a permission, and when what it holds is to
#: be erased, if that is not when all are.
_ENDED = {
    **_NO_LEASE,
    "preview": None,
    "upload_url": None,
    "finished_at": database_now(),
    "erase_at": case((tasks.c.deleted_at.is_not(None), 0.0), else_=database_now() + tasks.c.lifetime_s),
}
#: What the end of a task brings besides that may be waiting: where its time went, if that was not an attempt's.
_LET_GO = {
    "spent": case((and_(is_in_state("queued"), HAS_STARTED), WAITED_TO_THE_END), else_=tasks.c.spent),
    **_ENDED,
}
#: A task waiting again in its old place; its next attempt starts from noise. When it was started stays: fair order goes
#: by what was ever started.
_QUEUED_AGAIN = {"state": TaskState.QUEUED, "steps_done": 0, "preview": None, **_NO_LEASE}

_MINE: ColumnElement[bool] = and_(
    tasks.c.id == _THIS_ID,
    tasks.c.fence == bindparam("this_fence", type_=Integer),
    tasks.c.state == TaskState.RUNNING,
)
_EXPIRED: ColumnElement[bool] = and_(tasks.c.state == TaskState.RUNNING, tasks.c.lease_expires_at <= database_now())
_MAX_ATTEMPTS = bindparam("max_attempts", type_=Integer)

#: What is needed of an ended task to settle its price, to tell of it and to count it.
_SETTLED = (
    tasks.c.id,
    tasks.c.tenant_id,
    tasks.c.model,
    tasks.c.state,
    tasks.c.price,
    tasks.c.steps_done,
    tasks.c.steps_total,
    tasks.c.created_at,
    tasks.c.finished_at,
    tasks.c.work_units,
    tasks.c.fault_kind,
    tasks.c.webhook,
)

#: The columns of a task without the pictures that lie in its row: they may be 80 MB. What lies elsewhere besides is
#: told by its places, so a task with both kinds of sink brings them all.
WITHOUT_INLINE = (
    *[column for column in tasks.c if column not in {tasks.c.outputs, tasks.c.preview}],
    case((tasks.c.sink == literal_column("'inline'"), literal_column("'[]'")), else_=tasks.c.outputs).label("outputs"),
)

_SHOWN = (tasks.c.id == _THIS_ID, tasks.c.tenant_id == _THIS_TENANT, tasks.c.deleted_at.is_(None))
#: Read one task, as far as its tenant is the one who asks and has not deleted it.
READ = select(tasks).where(*_SHOWN)

#: The same for who needs to know how it is, and not what came of it.
READ_STATE = select(*WITHOUT_INLINE).where(*_SHOWN)

#: Read what a running task looks like.
READ_PREVIEW = select(tasks.c.preview).where(*_SHOWN, tasks.c.state == TaskState.RUNNING)

#: Read which of some tasks are running, and under which fence.
READ_FENCES = select(tasks.c.id, tasks.c.fence).where(
    tasks.c.id.in_(bindparam("task_ids", expanding=True)), tasks.c.state == TaskState.RUNNING
)

#: Read which of some tasks have not ended.
READ_ALIVE = select(tasks.c.id).where(
    tasks.c.id.in_(bindparam("task_ids", expanding=True)), is_in_state("queued", "running")
)

#: Read the requests of some tasks.
READ_REQUESTS = select(task_requests).where(task_requests.c.task_id.in_(bindparam("task_ids", expanding=True)))


#: Note a claimed task's progress and renew its lease, while the claim is still mine.
BEAT = (
    update(tasks)
    .where(_MINE)
    .values(
        steps_done=case((tasks.c.steps_done < _STEPS, _STEPS), else_=tasks.c.steps_done),
        lease_expires_at=database_now() + _LEASE_S,
    )
)

#: Note what a claimed task looks like, and how far it is, while the claim is still mine.
NOTE_PREVIEW = (
    update(tasks)
    .where(_MINE)
    .values(
        steps_done=case((tasks.c.steps_done < _STEPS, _STEPS), else_=tasks.c.steps_done),
        preview=bindparam("this_preview", type_=Text),
    )
)

#: End a task well, while the claim is still mine.
SUCCEED = (
    update(tasks)
    .where(_MINE)
    .values(
        state=TaskState.SUCCEEDED,
        outputs=bindparam("this_outputs", type_=Text),
        inference_ms=bindparam("this_inference_ms", type_=Integer),
        device_s=bindparam("this_device_s", type_=Double),
        spent=bindparam("this_spent", type_=Text),
        **_ENDED,
    )
    .returning(*_SETTLED)
)

#: End a task badly, while the claim is still mine.
FAIL = (
    update(tasks)
    .where(_MINE)
    .values(
        state=TaskState.FAILED,
        outputs=bindparam("this_outputs", type_=Text),
        fault_kind=bindparam("this_fault_kind", type_=Text),
        fault_message=bindparam("this_fault_message", type_=Text),
        spent=bindparam("this_spent", type_=Text),
        **_ENDED,
    )
    .returning(*_SETTLED)
)

#: End a task that was refused when it was accepted; it has never been queued for anybody to see.
REFUSE = (
    update(tasks)
    .where(tasks.c.id == _THIS_ID, is_in_state("queued"))
    .values(
        state=TaskState.FAILED,
        fault_kind=bindparam("this_fault_kind", type_=Text),
        fault_message=bindparam("this_fault_message", type_=Text),
        **_ENDED,
    )
    .returning(*_SETTLED)
)

#: Note what was sent of an ended task.
NOTE_SENT = (
    update(tasks)
    .where(tasks.c.id == _THIS_ID, tasks.c.finished_at.is_not(None), tasks.c.erased_at.is_(None))
    .values(outputs=bindparam("this_outputs", type_=Text))
)

#: Hand a task back unblamed, while the claim is still mine.
RELEASE = update(tasks).where(_MINE).values(attempt=tasks.c.attempt - 1, **_QUEUED_AGAIN)

#: End a task that its tenant no longer wants.
CANCEL = (
    update(tasks)
    .where(
        tasks.c.id == _THIS_ID,
        tasks.c.tenant_id == _THIS_TENANT,
        tasks.c.state.in_([TaskState.QUEUED, TaskState.RUNNING]),
    )
    .values(state=TaskState.CANCELLED, **_LET_GO)
    .returning(*_SETTLED)
)

#: End the tasks that were not started in the time that their callers gave them.
EXPIRE = (
    update(tasks)
    .where(is_in_state("queued"), tasks.c.start_before <= select(database_now()).scalar_subquery())
    .values(
        state=TaskState.CANCELLED,
        fault_kind=FaultKind.TOO_LATE,
        fault_message="it was not started in time",
        **_LET_GO,
    )
    .returning(*_SETTLED)
)

#: End the tasks whose lease ran out for the last time that is allowed.
QUARANTINE = (
    update(tasks)
    .where(_EXPIRED, tasks.c.attempt >= _MAX_ATTEMPTS)
    .values(
        state=TaskState.FAILED,
        fault_kind=FaultKind.QUARANTINED,
        fault_message=Quarantined().message,
        **_ENDED,
    )
    .returning(*_SETTLED)
)

#: Queue again the tasks whose lease ran out.
REQUEUE = update(tasks).where(_EXPIRED, tasks.c.attempt < _MAX_ATTEMPTS).values(**_QUEUED_AGAIN)

# Asked once, in a query of its own: what may change from row to row, as the time does, is not looked up in an index.
_LONG_AGO = select(database_now() - bindparam("keep_s", type_=Double)).scalar_subquery()
_ENDED_LONG_AGO = tasks.c.finished_at <= _LONG_AGO

#: Forget up to :at_most tasks that ended long ago, and what they were to make.
FORGET_TASKS = delete(tasks).where(
    tasks.c.id.in_(
        select(tasks.c.id)
        # As long as a task has pictures somewhere, it alone knows where they are.
        .where(_ENDED_LONG_AGO, or_(tasks.c.erased_at.is_not(None), tasks.c.outputs == "[]"))
        # The oldest first, which makes PostgreSQL begin there, and not look through all when there are none.
        .order_by(tasks.c.finished_at)
        .limit(bindparam("at_most", type_=Integer))
    )
)

#: Forget what up to :at_most ended tasks were to make; a failed one may be asked for again, so its wish stays.
FORGET_REQUESTS = delete(task_requests).where(
    task_requests.c.task_id.in_(
        select(task_requests.c.task_id)
        .join(tasks)
        .where(tasks.c.state.in_([TaskState.SUCCEEDED, TaskState.CANCELLED]))
        .limit(bindparam("at_most", type_=Integer))
    )
)

#: Forget keys that nobody will send again.
FORGET_KEYS = delete(idempotency_keys).where(
    idempotency_keys.c.created_at <= select(database_now() - bindparam("keep_keys_s", type_=Double)).scalar_subquery()
)

#: Count what waits, up to a number that is enough to know.
COUNT_QUEUED = select(func.count()).select_from(
    select(tasks.c.id).where(is_in_state("queued")).limit(bindparam("at_most", type_=Integer)).subquery()
)

#: Count what waits and what runs, by model.
BACKLOG = (
    select(tasks.c.model, tasks.c.state, func.count().label("tasks"))
    .where(is_in_state("queued", "running"))
    .group_by(tasks.c.model, tasks.c.state)
)

#: Touch the tasks table, to see that it is there.
PING = select(exists().select_from(tasks))
