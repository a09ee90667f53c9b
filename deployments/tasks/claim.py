"""The claim: one transaction that leases the next tasks in fair order to a replica.

Models take turns, each in the order of its own fair keys; a tenant at its cap of running tasks is passed over. Claims
wait for one another, so that the cap holds at every moment.

A claim knows its rank: how many tasks of its tenant were running before it. It also knows whether it yields: whether
its tenant left many more waiting. So replicas tell a tenant that floods from one that asks a few times in a row: what
has a low rank may overtake what has a higher one and yields.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Integer,
    Row,
    Select,
    Text,
    Update,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from deployments.database.schema import claiming_turn, database_now, is_in_state, tasks, tenants
from deployments.tasks.task import TaskState

#: A rank that no task has.
ANY_RANK = 2**31 - 1
#: How many waiting tasks tell a tenant that floods from one that asks a few times in a row.
MANY = 3

#: See whether anything waits for some models; cheap, and needs no lock.
ANYTHING_WAITS = select(exists().where(is_in_state("queued"), tasks.c.model.in_(bindparam("models", expanding=True))))

#: Wait until no other replica is claiming.
TAKE_TURN = select(claiming_turn())

_AT_CAP = func.count() >= tenants.c.max_running


def _tenants_where(enough_run: ColumnElement[bool]) -> Select[tuple[str]]:
    return (
        select(tasks.c.tenant_id)
        .join(tenants, tenants.c.id == tasks.c.tenant_id, isouter=True)
        .where(is_in_state("running"))
        .group_by(tasks.c.tenant_id, tenants.c.max_running)
        .having(enough_run)
    )


_BUSY_TENANTS = _tenants_where(or_(_AT_CAP, func.count() >= bindparam("below_rank", type_=Integer)))

#: Count the tasks that run for a tenant.
COUNT_RUNNING = select(func.count()).where(
    tasks.c.tenant_id == bindparam("this_tenant", type_=Text), is_in_state("running")
)

_FIRST_WAITING = (
    select(tasks.c.id)
    # Both conditions: by the first the databases see that an index of what is alive will do.
    .where(
        is_in_state("queued", "running"),
        is_in_state("queued"),
        tasks.c.tenant_id == bindparam("this_tenant", type_=Text),
    )
    .limit(MANY)
)

#: Count the tasks that wait for a tenant, to many and no further: a flood is not counted for every claim.
COUNT_WAITING = select(func.count()).select_from(_FIRST_WAITING.subquery())


_HAS_WAITED = tasks.c.created_at <= database_now() - bindparam("waited_s", type_=Double)

#: Whoever is idle would have taken it by now, so nobody is, and what is new is left to nobody.
_NOBODY_IS_IDLE = (
    exists()
    .where(
        is_in_state("queued"),
        tasks.c.model == bindparam("this_model", type_=Text),
        tasks.c.tenant_id.not_in(_tenants_where(_AT_CAP)),
        _HAS_WAITED,
    )
    # Asked once, not for each row.
    .correlate(None)
)


def _next_in_fair_order() -> Select[tuple[str]]:
    return (
        select(tasks.c.id)
        .where(
            is_in_state("queued"),
            tasks.c.model == bindparam("this_model", type_=Text),
            tasks.c.tenant_id.not_in(_BUSY_TENANTS),
            tasks.c.tenant_id.not_in(bindparam("not_of", expanding=True)),
            or_(_HAS_WAITED, _NOBODY_IS_IDLE),
        )
        .order_by(tasks.c.fair_key, tasks.c.created_at, tasks.c.id)
        .limit(1)
        # SQLite has no row locks and leaves this out; there the transaction holds the whole file.
        .with_for_update(skip_locked=True)
    )


def _claim_one() -> Update:
    # In a common table expression the choice is made once; as a plain subquery PostgreSQL may run it again per row.
    chosen = _next_in_fair_order().cte("chosen")
    return (
        update(tasks)
        .where(tasks.c.id.in_(select(chosen.c.id)))
        .values(
            state=TaskState.RUNNING,
            attempt=tasks.c.attempt + 1,
            fence=tasks.c.fence + 1,
            claimed_by=bindparam("replica_id", type_=Text),
            lease_expires_at=database_now() + bindparam("lease_s", type_=Double),
            started_at=database_now(),
        )
    )


#: Lease the next queued task of one model; skip rows that are locked and tenants that run as much as they may.
CLAIM_ONE = _claim_one().returning(tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """What a busy replica leaves to others."""

    #: Tasks of this rank and of higher ones.
    below_rank: int = ANY_RANK
    #: Tasks of these tenants.
    not_of: Collection[str] = ()
    #: Tasks that were accepted fewer seconds ago: an idle replica starts them at once. Not where others of their model
    #: have waited for longer, for then nobody is idle. Clocks differ; so may this.
    waited_s: float = 0.0


#: What an idle replica leaves to others: nothing.
NO_RESTRAINT = Restraint(waited_s=-math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appetite:
    """What a replica would take."""

    #: Catalog names, in the order in which they take turns.
    models: Sequence[str]
    #: Tasks, at most.
    limit: int
    #: Who takes them, for people to read.
    replica_id: str
    #: How long they stay taken without a beat, in seconds.
    lease_s: float
    #: What it leaves to others all the same.
    restraint: Restraint = NO_RESTRAINT


def claim(connection: Connection, appetite: Appetite) -> list[tuple[Row[Any], int, bool]]:
    """Lease up to ``limit`` tasks; return their rows, ranks and whether they yield, in the order of choice."""
    connection.execute(TAKE_TURN)
    taken: list[tuple[Row[Any], int, bool]] = []
    turns = deque(appetite.models)
    while turns and len(taken) < appetite.limit:
        model = turns.popleft()
        row = _claim_next(connection, model, appetite)
        if row is not None:
            running = connection.execute(COUNT_RUNNING, {"this_tenant": row.tenant_id}).scalar_one()
            waiting = connection.execute(COUNT_WAITING, {"this_tenant": row.tenant_id}).scalar_one()
            taken.append((row, running - 1, waiting >= MANY))
            turns.append(model)
    return taken


def _claim_next(connection: Connection, model: str, appetite: Appetite) -> Row[Any] | None:
    values = {
        "this_model": model,
        "replica_id": appetite.replica_id,
        "lease_s": appetite.lease_s,
        "below_rank": appetite.restraint.below_rank,
        "not_of": list(appetite.restraint.not_of),
        "waited_s": appetite.restraint.waited_s,
    }
    return connection.execute(CLAIM_ONE, values).one_or_none()
