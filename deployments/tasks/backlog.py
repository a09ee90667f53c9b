"""What waits for some models, and how fast what ended lately was done: all that says how many replicas are needed.

A tenant at its cap of running tasks leaves no work for further replicas, however much of its waits; but a first replica
for models of which it runs nothing, so that what waits there can take the next place that comes free. How fast a device
is, is told by its own time: a reference that comes slowly, or a bucket that takes a picture slowly, is none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Double, Row, Text, and_, bindparam, func, literal_column, select

from deployments.database.database import Database
from deployments.database.schema import database_now, is_in_state, tasks, tenants

#: Ended tasks that are looked at, and the seconds that they may lie back.
MAX_RUNS, RECENT_S = 200, 900.0

_MODELS = bindparam("models", type_=Text, expanding=True)

_OURS = tasks.c.model.in_(_MODELS)
_WAITS, _RUNS = and_(is_in_state("queued"), _OURS), and_(is_in_state("running"), _OURS)

#: Add up what waits and what runs of some models for each tenant, and all that runs for it, which its cap counts.
READ_LOADS = (
    select(
        func.count().filter(_WAITS).label("queued"),
        func.coalesce(func.sum(tasks.c.work_units).filter(_WAITS), 0.0).label("queued_units"),
        func.count().filter(_RUNS).label("running"),
        func.count().filter(is_in_state("running")).label("running_of_all"),
        tenants.c.max_running,
    )
    .join(tenants, tenants.c.id == tasks.c.tenant_id, isouter=True)
    .where(is_in_state("queued", "running"))
    .group_by(tasks.c.tenant_id, tenants.c.max_running)
)

# Asked once, in a query of its own: what may change from row to row, as the time does, is not looked up in an index.
_LATELY = select(database_now() - bindparam("recent_s", type_=Double)).scalar_subquery()

#: Read the newest of the tasks that some models have made lately.
READ_RUNS = (
    select(tasks.c.work_units, tasks.c.device_s)
    .where(
        tasks.c.finished_at > _LATELY,
        tasks.c.state == "succeeded",
        tasks.c.device_s > literal_column("0"),
        _OURS,
    )
    .order_by(tasks.c.finished_at.desc())
    .limit(literal_column(str(MAX_RUNS)))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A task that a replica has made."""

    #: What it cost, in work units.
    units: float
    #: For how many seconds a device worked on it.
    device_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What there is to do, and what was done lately."""

    #: Tasks that wait and could be claimed.
    queued: int
    #: Tasks that run.
    running: int
    #: Work units that wait and could be claimed.
    queued_units: float
    #: What ended well lately.
    runs: tuple[Run, ...] = ()


async def read_backlog(database: Database, models: Sequence[str]) -> Backlog:
    """Read what waits for some models, and what they have made lately.

    Raises:
        Unavailable: when the database cannot be reached or stays locked.
    """
    loads = await database.rows(READ_LOADS, {"models": list(models)})
    runs = await database.rows(READ_RUNS, {"models": list(models), "recent_s": RECENT_S})
    claimable = [(load, _claimable(load)) for load in loads if load.queued]
    return Backlog(
        queued=sum(number for _, number in claimable),
        running=sum(load.running for load in loads),
        queued_units=sum(load.queued_units * number / load.queued for load, number in claimable),
        runs=tuple(Run(units=row.work_units, device_s=row.device_s) for row in runs),
    )


def _claimable(load: Row[Any]) -> int:
    """Return how many of a tenant's waiting tasks may run beside what runs for it; they count as equally large.

    One at least where nothing of these models runs: other models may fill the cap at every look, and without a replica
    there is nobody who could ever claim what waits here.
    """
    waiting, may_run, running = int(load.queued), load.max_running, int(load.running_of_all)
    return waiting if may_run is None else max(min(waiting, int(may_run) - running), int(not load.running))
