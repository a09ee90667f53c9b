"""How much waits and runs in the whole cluster, for its metrics: counted in the store, by nobody's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, literal_column, select

from deployments.database.database import Database
from deployments.database.schema import database_now, is_in_state, tasks, webhooks

_IS_QUEUED, _IS_RUNNING = is_in_state("queued"), is_in_state("running")

#: Add up what waits and what runs, by model and by whether its tenants weigh less, as much or more than is usual.
COUNT = (
    select(
        tasks.c.model,
        case((tasks.c.weight < 1.0, -1), (tasks.c.weight > 1.0, 1), else_=0).label("side"),
        func.count().filter(_IS_QUEUED).label("queued"),
        func.count().filter(_IS_RUNNING).label("running"),
        func.coalesce(func.sum(tasks.c.work_units).filter(_IS_QUEUED), 0.0).label("queued_units"),
        (database_now() - func.min(tasks.c.created_at).filter(_IS_QUEUED)).label("oldest_s"),
    )
    .where(is_in_state("queued", "running"))
    .group_by(tasks.c.model, "side")
)

#: Count the webhooks that are still to be delivered, and say for how long the oldest has waited.
COUNT_WEBHOOKS = select(
    func.count().label("waiting"), (database_now() - func.min(webhooks.c.created_at)).label("oldest_s")
).where(webhooks.c.state == literal_column("'waiting'"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """The tasks of one model whose tenants are of one class."""

    #: Catalog name of the model.
    model: str
    #: How the tenants' weight lies to the usual one: -1 below it, 0 at it, 1 above it.
    side: int
    #: Tasks that wait.
    queued: int
    #: Tasks that run.
    running: int
    #: Work units that wait.
    queued_units: float
    #: Seconds since the oldest waiting one was accepted; 0 where none waits.
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How much there is to do."""

    #: Those that are not empty.
    crowds: Sequence[Crowd]
    #: Webhooks that are still to be delivered.
    webhooks: int
    #: Seconds for which the oldest of them has waited, since its task's end or its replay; 0 where there is none.
    webhook_age_s: float


async def take_census(database: Database) -> Census:
    """Count what waits and what runs.

    Raises:
        Unavailable: when the database cannot be reached or stays locked.
    """
    crowds = [
        Crowd(
            model=row.model,
            side=row.side,
            queued=row.queued,
            running=row.running,
            queued_units=row.queued_units,
            # A task is accepted by the clock of a process, which may be ahead of the database's.
            oldest_s=max(row.oldest_s or 0.0, 0.0),
        )
        for row in await database.rows(COUNT)
    ]
    [waiting] = await database.rows(COUNT_WEBHOOKS)
    return Census(crowds=crowds, webhooks=waiting.waiting, webhook_age_s=max(waiting.oldest_s or 0.0, 0.0))
