"""The tables, and the database's own clock.

Knows the columns, not the rules: which move is allowed is written in ``statements``. Moments are seconds since the
epoch as doubles: SQLite has no time type, and both databases can add seconds to a double.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Double, ForeignKey, Index, Integer, MetaData, Table, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

metadata = MetaData()

tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("sink", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("fair_key", Double, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("steps_done", Integer, nullable=False),
    Column("claimed_by", Text),
    Column("lease_expires_at", Double),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("inference_ms", Integer, nullable=False),
    Column("fault_kind", Text),
    Column("fault_message", Text),
    Column("outputs", Text, nullable=False),
)

Index("tasks_by_fair_key", tasks.c.state, tasks.c.model, tasks.c.fair_key, tasks.c.id)
Index("tasks_by_tenant", tasks.c.tenant_id, tasks.c.created_at)
# Only running tasks hold a lease, so this index stays as small as the fleet however many tasks have ended.
Index(
    "tasks_by_lease",
    tasks.c.lease_expires_at,
    sqlite_where=tasks.c.lease_expires_at.is_not(None),
    postgresql_where=tasks.c.lease_expires_at.is_not(None),
)

# For the sweeping of old tasks, which must not read all the others.
Index(
    "tasks_by_end",
    tasks.c.finished_at,
    sqlite_where=tasks.c.finished_at.is_not(None),
    postgresql_where=tasks.c.finished_at.is_not(None),
)

# Beside the tasks and not in them: a request may hold 50 MB of data URIs, which no read of a state should touch.
task_requests = Table(
    "task_requests",
    metadata,
    Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("request", Text, nullable=False),
)


class database_now(FunctionElement[float]):  # noqa: N801 -- written in statements like the SQL function that it stands for
    """Ask the database for the present moment, in seconds since the epoch.

    Leases are set and judged by this one clock, so a replica whose clock is wrong neither keeps nor loses a task.
    SQLite answers in whole milliseconds, PostgreSQL in microseconds.
    """

    inherit_cache = True
    name = "database_now"
    type = Double()


@compiles(database_now, "sqlite")
def _sqlite_now(_element: database_now, _compiler: SQLCompiler, **_options: Any) -> str:
    # 2440587.5 is the Julian day of the epoch; unixepoch('subsec') would say it plainly but needs SQLite 3.42.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(_element: database_now, _compiler: SQLCompiler, **_options: Any) -> str:
    # Not now(): that one stands still for the length of a transaction, and a lease may be waited for inside one.
    return "extract(epoch from clock_timestamp())::double precision"
