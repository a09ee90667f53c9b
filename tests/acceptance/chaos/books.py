"""The database's own books, read by plain SQL beside the product, and a history of every task that triggers keep.

The triggers are planted from outside: whatever code moves a task, each move is written down in its own transaction.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

Row = dict[str, Any]

_COLUMNS = """
    at DOUBLE PRECISION NOT NULL, task_id TEXT NOT NULL, old_state TEXT, new_state TEXT,
    old_fence INTEGER, new_fence INTEGER, old_attempt INTEGER, new_attempt INTEGER,
    old_lease DOUBLE PRECISION, new_lease DOUBLE PRECISION, claimed_by TEXT, fault_kind TEXT
"""
_NAMES = (
    "at, task_id, old_state, new_state, old_fence, new_fence, old_attempt, new_attempt, old_lease, new_lease,"
    " claimed_by, fault_kind"
)
_BORN = "NEW.id, NULL, NEW.state, NULL, NEW.fence, NULL, NEW.attempt, NULL, NULL, NULL, NULL"
_MOVED = (
    "NEW.id, OLD.state, NEW.state, OLD.fence, NEW.fence, OLD.attempt, NEW.attempt,"
    " OLD.lease_expires_at, NEW.lease_expires_at, NEW.claimed_by, NEW.fault_kind"
)
_GONE = "OLD.id, OLD.state, NULL, OLD.fence, NULL, OLD.attempt, NULL, NULL, NULL, OLD.claimed_by, NULL"
# Beats, which only renew a lease or count steps, are no moves; but nothing at all may change once a task has ended.
_IS_MOVE = (
    "OLD.state <> NEW.state OR OLD.fence <> NEW.fence OR OLD.attempt <> NEW.attempt"
    " OR OLD.state IN ('succeeded', 'failed', 'cancelled')"
)
_EVENTS = (("INSERT", _BORN, ""), ("UPDATE", _MOVED, f"WHEN ({_IS_MOVE})"), ("DELETE", _GONE, ""))

_TENANTS = """
    SELECT t.id, t.max_running, t.max_queued, t.budget, t.held, t.spent,
        COALESCE(SUM(CASE WHEN k.state = 'running' THEN 1 ELSE 0 END), 0) AS running,
        COALESCE(SUM(CASE WHEN k.state = 'queued' THEN 1 ELSE 0 END), 0) AS queued
    FROM tenants t LEFT JOIN tasks k ON k.tenant_id = t.id AND k.state IN ('queued', 'running')
    GROUP BY t.id, t.max_running, t.max_queued, t.budget, t.held, t.spent
"""
_UNTOLD = "SELECT COUNT(*) AS untold FROM webhooks WHERE state = 'waiting'"
_ALIVE = "SELECT COUNT(*) AS alive FROM tasks WHERE state IN ('queued', 'running')"


class Books(Protocol):
    """Plain SQL on the database under test, past every fault proxy."""

    async def rows(self, sql: str) -> list[Row]:
        """Read; raises OSError or the driver's error while the database is away."""
        ...

    async def plant_history(self) -> None:
        """Begin to write down every move of every task."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything in the books at the end of a run."""

    #: Every task.
    tasks: Sequence[Row]
    #: Every idempotency key.
    keys: Sequence[Row]
    #: Every charge.
    charges: Sequence[Row]
    #: Every webhook.
    webhooks: Sequence[Row]
    #: Every tenant, with what waits and runs.
    tenants: Sequence[Row]
    #: Every move, in order.
    history: Sequence[Row]


async def read_record(books: Books) -> Record:
    """Read the books whole."""
    return Record(
        tasks=await books.rows("SELECT * FROM tasks"),
        keys=await books.rows("SELECT * FROM idempotency_keys"),
        charges=await books.rows("SELECT * FROM charges"),
        webhooks=await books.rows("SELECT * FROM webhooks"),
        tenants=await read_tenants(books),
        history=await books.rows("SELECT * FROM chaos_history ORDER BY seq"),
    )


async def read_tenants(books: Books) -> list[Row]:
    """Read every tenant with what waits and runs, all at one moment."""
    return await books.rows(_TENANTS)


async def count_alive(books: Books) -> int:
    """Count the tasks that have not ended."""
    return int((await books.rows(_ALIVE))[0]["alive"])


async def count_untold(books: Books) -> int:
    """Count the webhooks that are neither delivered nor given up."""
    return int((await books.rows(_UNTOLD))[0]["untold"])


class SqliteBooks:
    """The books of a SQLite file."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def rows(self, sql: str) -> list[Row]:
        """Read."""
        return await asyncio.to_thread(self._rows, sql)

    async def plant_history(self) -> None:
        """Make the history and its triggers."""
        now = "((julianday('now') - 2440587.5) * 86400.0)"
        script = f"CREATE TABLE chaos_history (seq INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS});"
        for event, values, when in _EVENTS:
            insert = f"INSERT INTO chaos_history ({_NAMES}) VALUES ({now}, {values});"  # noqa: S608 -- our own words
            script += f"CREATE TRIGGER chaos_{event} AFTER {event} ON tasks FOR EACH ROW {when} BEGIN {insert} END;"
        connection = sqlite3.connect(self._path)
        connection.executescript(script)
        connection.close()

    def _rows(self, sql: str) -> list[Row]:
        connection = sqlite3.connect(self._path, timeout=20)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql)]
        finally:
            connection.close()


class PostgresBooks:
    """The books of a PostgreSQL database; connects for every question, for its server comes and goes."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def rows(self, sql: str) -> list[Row]:
        """Read."""
        connection = await asyncpg.connect(self._dsn, timeout=5)
        try:
            return [dict(row) for row in await connection.fetch(sql, timeout=60)]
        finally:
            connection.terminate()

    async def run(self, sql: str) -> None:
        """Run statements."""
        connection = await asyncpg.connect(self._dsn, timeout=5)
        await connection.execute(sql)
        await connection.close()

    async def plant_history(self) -> None:
        """Make the history and its triggers."""
        now = "extract(epoch from clock_timestamp())"
        script = f"CREATE TABLE chaos_history (seq BIGSERIAL PRIMARY KEY, {_COLUMNS});"
        for event, values, when in _EVENTS:
            insert = f"INSERT INTO chaos_history ({_NAMES}) VALUES ({now}, {values}); RETURN NULL;"  # noqa: S608 -- our own words
            script += f"CREATE FUNCTION chaos_{event}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {insert} END$$;"
            script += f"CREATE TRIGGER chaos_{event} AFTER {event} ON tasks FOR EACH ROW {when}"
            script += f" EXECUTE FUNCTION chaos_{event}();"
        await self.run(script)
