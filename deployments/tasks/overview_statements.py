"""The statements of the operator's overview: read across tenants, one per purpose, built once.

What an operator narrows a list by is added where it is asked for. States are named in words, so that the indexes of
live tasks are used.
"""

from __future__ import annotations

from sqlalchemy import Double, Integer, Text, bindparam, exists, func, select

from deployments.database.schema import charges, database_now, is_in_state, task_requests, tasks
from deployments.errors import FaultKind

_THIS_ID = bindparam("this_id", type_=Text)
_AT_MOST = bindparam("at_most", type_=Integer)
_IS_QUEUED, _IS_RUNNING = is_in_state("queued"), is_in_state("running")
_replays, _originals = tasks.alias("replays"), tasks.alias("originals")

#: Read the newest tasks, without what may be long; narrowed by what the operator asks for.
LIST = (
    select(
        tasks.c.id,
        tasks.c.tenant_id,
        tasks.c.model,
        tasks.c.state,
        tasks.c.attempt,
        tasks.c.steps_done,
        tasks.c.steps_total,
        tasks.c.price,
        tasks.c.created_at,
        tasks.c.finished_at,
        tasks.c.fault_kind,
        database_now().label("seen_at"),
    )
    .order_by(tasks.c.created_at.desc(), tasks.c.id.desc())
    .limit(_AT_MOST)
)

#: Read one task with all that is known of it.
SHOW = (
    select(tasks, task_requests.c.request, charges.c.amount, database_now().label("seen_at"))
    .outerjoin(task_requests, task_requests.c.task_id == tasks.c.id)
    .outerjoin(charges, charges.c.task_id == tasks.c.id)
    .where(tasks.c.id == _THIS_ID)
)

#: Read whose task it is.
FIND_TENANT = select(tasks.c.tenant_id).where(tasks.c.id == _THIS_ID)

#: Read which tasks repeat one; they are its own tenant's, of which there is an index.
READ_REPLAYS = (
    select(tasks.c.id)
    .where(tasks.c.tenant_id == bindparam("this_tenant", type_=Text), tasks.c.replay_of == _THIS_ID)
    .order_by(tasks.c.created_at, tasks.c.id)
)

#: Add up what waits and what runs, for every tenant of every model.
DEPTH = (
    select(
        tasks.c.model,
        tasks.c.tenant_id,
        func.count().filter(_IS_QUEUED).label("queued"),
        func.count().filter(_IS_RUNNING).label("running"),
        func.coalesce(func.sum(tasks.c.work_units).filter(_IS_QUEUED), 0.0).label("queued_units"),
        (database_now() - func.min(tasks.c.created_at).filter(_IS_QUEUED)).label("oldest_s"),
    )
    .where(is_in_state("queued", "running"))
    .group_by(tasks.c.model, tasks.c.tenant_id)
    .order_by(tasks.c.model, tasks.c.tenant_id)
)

#: Read which tasks were given up as quarantined and not asked for again since, the oldest first.
READ_QUARANTINED = (
    select(tasks.c.id)
    .where(
        is_in_state("failed"),
        tasks.c.fault_kind == FaultKind.QUARANTINED,
        tasks.c.id.not_in(select(_replays.c.replay_of).where(_replays.c.replay_of.is_not(None))),
    )
    .order_by(tasks.c.created_at, tasks.c.id)
)

#: Read some ended tasks that may go. One that repeats another stays as long as that one: without it, the other would
#: seem never to have been replayed.
READ_PURGEABLE = (
    select(tasks.c.id)
    .where(
        tasks.c.finished_at <= database_now() - bindparam("older_than_s", type_=Double),
        ~exists().where(_originals.c.id == tasks.c.replay_of),
    )
    .limit(_AT_MOST)
)
