"""The tables, and the database's own clock.

Knows the columns, not the rules: which move is allowed is written in statements. Moments are seconds since the
epoch as doubles: SQLite has no time type, and both databases can add seconds to a double. Money is millionths of a
dollar as integers, so that sums are exact.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    literal_column,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

metadata = MetaData()

tenants = Table(
    "tenants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("weight", Double, nullable=False),
    Column("models", Text),
    Column("max_queued", Integer),
    Column("max_queued_units", Double),
    Column("max_running", Integer),
    Column("requests_per_minute", Integer),
    Column("budget", BigInteger),
    Column("openings", Text),
    Column("lifetime_s", Double),
    Column("max_kept", BigInteger),
    Column("held", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("paced_until_s", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)

Index("api_keys_by_tenant", api_keys.c.tenant_id)

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
    Column("work_units", Double, nullable=False),
    Column("weight", Double, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("steps_total", Integer, nullable=False),
    Column("steps_done", Integer, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("replay_of", Text),
    Column("claimed_by", Text),
    Column("lease_expires_at", Double),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("inference_ms", Integer, nullable=False),
    Column("device_s", Double),
    Column("fault_kind", Text),
    Column("fault_message", Text),
    Column("outputs", Text, nullable=False),
    Column("preview", Text),
    Column("spent", Text),
    Column("traceparent", Text),
    Column("webhook", Text),
    Column("upload_url", Text),
    Column("lifetime_s", Double),
    Column("start_before", Double),
    Column("deleted_at", Double),
    Column("erase_at", Double),
    Column("erased_at", Double),
)


def is_in_state(*states: str) -> ColumnElement[bool]:
    """Say that a task is in one of some states, in words that an index over those states alone can be used for.

    A bound value would not do: neither database looks at values when it chooses an index.
    """
    return tasks.c.state.in_([literal_column(f"'{state}'") for state in states])


# The indexes that work under way needs hold nothing else, so they stay small however many tasks have ended.
#: That a task has been claimed once, whatever became of it, in the words of two indexes. They are two wordings on
#: purpose: PostgreSQL would look for a tenant's last task by walking back through everybody's.
HAS_STARTED, WAS_CLAIMED = tasks.c.started_at.is_not(None), tasks.c.fence > literal_column("0")
_IS_QUEUED, _IS_RUNNING, _IS_ALIVE = is_in_state("queued"), is_in_state("running"), is_in_state("queued", "running")


def _index(name: str, *columns: Column[Any], where: ColumnElement[bool]) -> Index:
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


_index("tasks_in_fair_order", tasks.c.model, tasks.c.fair_key, tasks.c.created_at, tasks.c.id, where=_IS_QUEUED)
# By tenant, because a claim counts what runs for each; SQLite would count within all tasks of all time otherwise.
_index("tasks_running_by_tenant", tasks.c.tenant_id, where=_IS_RUNNING)
# These two hold ended tasks as well, but only their last entry is ever looked at.
_index("tasks_started", tasks.c.model, tasks.c.fair_key, where=HAS_STARTED)
_index("tasks_claimed", tasks.c.tenant_id, tasks.c.model, tasks.c.fair_key, where=WAS_CLAIMED)
# Holds every column that an accept looks at, so that a tenant's waiting tasks are counted within the index.
_index(
    "tasks_alive",
    tasks.c.tenant_id,
    tasks.c.state,
    tasks.c.model,
    tasks.c.fair_key,
    tasks.c.work_units,
    tasks.c.weight,
    tasks.c.created_at,
    where=_IS_ALIVE,
)
_index("tasks_by_patience", tasks.c.start_before, where=and_(_IS_QUEUED, tasks.c.start_before.is_not(None)))
_index("tasks_by_lease", tasks.c.lease_expires_at, where=tasks.c.lease_expires_at.is_not(None))
_index("tasks_to_erase", tasks.c.erase_at, where=tasks.c.erase_at.is_not(None))
_HAS_AGED = and_(tasks.c.finished_at.is_not(None), tasks.c.erase_at.is_(None), tasks.c.erased_at.is_(None))
_index("tasks_to_age", tasks.c.finished_at, where=_HAS_AGED)
_index("tasks_by_end", tasks.c.finished_at, where=tasks.c.finished_at.is_not(None))
Index("tasks_by_tenant", tasks.c.tenant_id, tasks.c.created_at)

# Beside the tasks and not in them: a request may hold 50 MB of data URIs, which no read of a state should touch.
task_requests = Table(
    "task_requests",
    metadata,
    Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("request", Text, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Double, nullable=False),
)

Index("idempotency_keys_by_task", idempotency_keys.c.task_id)
Index("idempotency_keys_by_age", idempotency_keys.c.created_at)

# What callers had sent, kept for those who are shown it again.
task_bodies = Table(
    "task_bodies",
    metadata,
    Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("body", Text, nullable=False),
)

# The outbox: who is to be told of which end, written in the transaction that ends the task.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("picture", Integer),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("body", Text),
    Column("last_answer", Text),
)

_WAITS = webhooks.c.state == literal_column("'waiting'")
# Hold what a claim looks at, so that webhooks of a host that has no room are passed over within the index.
_index("webhooks_due", webhooks.c.due_at, webhooks.c.host, webhooks.c.tenant_id, where=_WAITS)
_index("webhooks_due_by_host", webhooks.c.host, webhooks.c.due_at, where=_WAITS)
Index("webhooks_by_task", webhooks.c.task_id)
Index("webhooks_by_tenant", webhooks.c.tenant_id, webhooks.c.created_at)

# What is kept for requests to refer to: who keeps it, and how much room it takes. A grant has its row before its
# picture is there, with room for the largest, and without the moment at which it was taken up.
kept_pictures = Table(
    "kept_pictures",
    metadata,
    Column("value", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("taken_at", Double),
)

# Holds what a sum over a tenant's pictures looks at.
Index("kept_by_tenant", kept_pictures.c.tenant_id, kept_pictures.c.expires_at, kept_pictures.c.size_bytes)
Index("kept_by_expiry", kept_pictures.c.expires_at)

# What was charged, once per task, kept when the task itself is forgotten.
charges = Table(
    "charges",
    metadata,
    Column("task_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("charged_at", Double, nullable=False),
)

Index("charges_by_tenant", charges.c.tenant_id, charges.c.charged_at)


class octets(FunctionElement[int]):  # noqa: N801 -- written in statements like the SQL function that it stands for
    """Ask how many bytes a text has, without bringing it here; PostgreSQL does not even read it."""

    inherit_cache = True
    name = "octets"
    type = BigInteger()


@compiles(octets, "sqlite")
def _sqlite_octets(element: octets, compiler: SQLCompiler, **options: Any) -> str:
    # SQLite has octet_length from 3.43 on.
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"


@compiles(octets, "postgresql")
def _postgresql_octets(element: octets, compiler: SQLCompiler, **options: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **options)})"


class claiming_turn(FunctionElement[None]):  # noqa: N801 -- as below
    """Wait until no other transaction is claiming; the turn ends with the transaction.

    Claims take turns so that what they count, the running tasks of a tenant, is still true when they are done. A turn
    lasts a few milliseconds. On SQLite every write has the whole file for itself anyway.
    """

    inherit_cache = True
    name = "claiming_turn"


@compiles(claiming_turn, "sqlite")
def _sqlite_turn(_element: claiming_turn, _compiler: SQLCompiler, **_options: Any) -> str:
    return "NULL"


@compiles(claiming_turn, "postgresql")
def _postgresql_turn(_element: claiming_turn, _compiler: SQLCompiler, **_options: Any) -> str:
    return "pg_advisory_xact_lock(85111)"  # any number that nobody else uses


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
