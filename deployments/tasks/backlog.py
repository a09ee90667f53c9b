"""What waits for some models, and how fast what ended lately was done: all that says how many replicas are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Double, Text, bindparam, func, literal_column, select

from deployments.database.database import Database
from deployments.database.schema import database_now, is_in_state, tasks

#: Ended tasks that are looked at, and the seconds that they may lie back.
MAX_RUNS, RECENT_S = 200, 900.0

_MODELS = bindparam("models", type_=Text, expanding=True)

#: Add up what waits and what runs of some models.
READ_LOAD = select(
    func.count().filter(is_in_state("queued")).label("queued"),
    func.count().filter(is_in_state("running")).label("running"),
    func.coalesce(func.sum(tasks.c.work_units).filter(is_in_state("queued")), 0.0).label("queued_units"),
).where(is_in_state("queued", "running"), tasks.c.model.in_(_MODELS))

# Asked once, in a query of its own: what may change from row to row, as the time does, is not looked up in an index.
_LATELY = select(database_now() - bindparam("recent_s", type_=Double)).scalar_subquery()

#: Read the newest of the tasks that some models have made lately.
READ_RUNS = (
    select(tasks.c.claimed_by, tasks.c.work_units, tasks.c.started_at, tasks.c.finished_at)
    .where(
        tasks.c.finished_at > _LATELY,
        tasks.c.state == "succeeded",
        tasks.c.started_at.is_not(None),
        tasks.c.claimed_by.is_not(None),
        tasks.c.model.in_(_MODELS),
    )
    .order_by(tasks.c.finished_at.desc())
    .limit(literal_column(str(MAX_RUNS)))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A task that a replica has made."""

    #: Which replica.
    replica: str
    #: What it cost, in work units.
    units: float
    #: When it was claimed, in seconds since 1970 on the database's clock.
    started_s: float
    #: When it ended, on the same clock.
    ended_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What there is to do, and what was done lately."""

    #: Tasks that wait.
    queued: int
    #: Tasks that run.
    running: int
    #: Work units that wait.
    queued_units: float
    #: What ended well lately.
    runs: tuple[Run, ...] = ()


async def read_backlog(database: Database, models: Sequence[str]) -> Backlog:
    """Read what waits for some models, and what they have made lately.

    Raises:
        Unavailable: when the database cannot be reached or stays locked.
    """
    (load,) = await database.rows(READ_LOAD, {"models": list(models)})
    runs = await database.rows(READ_RUNS, {"models": list(models), "recent_s": RECENT_S})
    return Backlog(
        queued=load.queued,
        running=load.running,
        queued_units=load.queued_units,
        runs=tuple(
            Run(replica=row.claimed_by, units=row.work_units, started_s=row.started_at, ended_s=row.finished_at)
            for row in runs
        ),
    )
