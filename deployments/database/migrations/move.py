"""What ``uxo migrate`` does: move the tables of a database forwards, in one transaction, and say from where to where.

a server    to the newest revision that older code puts up with, or with ``post`` to the last one
a file      to the last one in either case: it belongs to one machine, which runs one version
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import asyncpg
from sqlalchemy import Connection, event, exc, make_url
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from deployments.database.migrations import newest_pre, present_revision, upgrade
from deployments.database.postgresql import make_engine
from deployments.database.sqlite import file_of, migrate, reading_engine
from deployments.errors import Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where the tables were and where they are."""

    #: The revision before; None where there were no tables.
    before: str | None
    #: The revision now.
    after: str | None


async def move(url: str, *, post: bool = False) -> Move:
    """Bring the tables of the database at ``url`` forwards, all of the way or not at all; wait for others who do it.

    Args:
        url: SQLAlchemy URL of a kind of database that ``MOVES`` names.
        post: whether what only older code needs is taken away too.

    Raises:
        Unavailable: when the database cannot be reached or stays locked.
        TooNew: when this version does not know how far the tables are.
    """
    return await MOVES[make_url(url).get_backend_name()](url, "head" if post else newest_pre())


async def _move_file(url: str, _revision: str) -> Move:
    before = await asyncio.to_thread(_revision_of_file, url)
    await migrate(url)
    return Move(before=before, after=await asyncio.to_thread(_revision_of_file, url))


def _revision_of_file(url: str) -> str | None:
    if not file_of(url).exists():
        return None
    engine = reading_engine(url)
    try:
        with _translated(), engine.connect() as connection:
            return present_revision(connection)
    finally:
        engine.dispose()


async def _move_server(url: str, revision: str) -> Move:
    engine = patient_engine(url)
    try:
        with _translated():
            async with engine.begin() as connection:
                return await connection.run_sync(_move_tables, revision)
    finally:
        await engine.dispose()


def patient_engine(url: str) -> AsyncEngine:
    """Prepare connections whose statements may take as long as they do."""
    engine = make_engine(url, poolclass=NullPool)
    event.listen(engine.sync_engine, "do_connect", _with_patience)
    return engine


def _with_patience(_dialect: Any, _entry: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
    # An index on a big table takes long, and so may another process that moves the tables already.
    limits = {"statement_timeout": "0", "lock_timeout": "0"}
    parameters["server_settings"] = parameters["server_settings"] | limits
    parameters["command_timeout"] = None


def _move_tables(connection: Connection, revision: str) -> Move:
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('uxo_migrations'))")
    before = present_revision(connection)
    upgrade(connection, revision)
    return Move(before=before, after=present_revision(connection))


@contextmanager
def _translated() -> Iterator[None]:
    """Turn a database that is not there into Unavailable; a revision that is wrong stays loud."""
    try:
        yield
    except (exc.ProgrammingError, exc.IntegrityError, exc.DataError, exc.NotSupportedError):
        raise
    except (exc.DBAPIError, asyncpg.PostgresError, OSError) as error:
        raise Unavailable from error


#: How each kind of database is moved; a new one is one line.
MOVES: Mapping[str, Callable[[str, str], Awaitable[Move]]] = MappingProxyType(
    {"sqlite": _move_file, "postgresql": _move_server}
)
