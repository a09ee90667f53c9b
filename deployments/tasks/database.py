"""Connections: one way to read, one way to write, and the one place where database trouble is translated.

    kind        reads                       writes                                  waits for a lock
    sqlite      up to 4 at once, no locks   one at a time per process, whole file   5 s, then Unavailable
    other       the driver's pool           the same pool, row locks                the server's own limits

Knows no table. On SQLite a process queues its own writers in one fair line, for the file's lock is polled and unfair.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Executable, Row, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from deployments.errors import Unavailable
from deployments.tasks import sqlite

Result = TypeVar("Result")

#: How long a caller waits for a connection of this process before it is refused.
CHECKOUT_TIMEOUT_S = 10.0


class Database:
    """An open database.

    Args:
        reading: engine for single reads.
        writing: engine for transactions; may be the same one.
    """

    def __init__(self, *, reading: AsyncEngine, writing: AsyncEngine) -> None:
        self._reading = reading
        self._writing = writing
        self._unfinished: set[asyncio.Future[Any]] = set()

    async def rows(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run one reading statement.

        Raises:
            Unavailable: when the database cannot be reached or stays locked.
        """
        with _translated():
            async with self._reading.connect() as connection:
                return (await connection.execute(statement, values)).all()

    async def write(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Run ``work`` in one transaction and commit it before returning.

        A caller that is cancelled leaves the transaction running to its end: half of one is never thrown away.

        Raises:
            Unavailable: when the database cannot be reached or stays locked; nothing was written, or, if the connection
                broke during the commit itself, all of it may have been.
        """
        unfinished = asyncio.ensure_future(self._transact(work))
        self._unfinished.add(unfinished)  # the loop itself holds running tasks only weakly
        unfinished.add_done_callback(self._unfinished.discard)
        return await asyncio.shield(unfinished)

    async def close(self) -> None:
        """Let running transactions end, then close every connection."""
        await asyncio.gather(*self._unfinished, return_exceptions=True)
        await self._reading.dispose()
        await self._writing.dispose()

    async def _transact(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        with _translated():
            async with self._writing.begin() as connection:
                return await work(connection)


async def open_database(url: str) -> Database:
    """Open the database at ``url``; a SQLite file is made and migrated if it has to be.

    Raises:
        Unavailable: when a SQLite file cannot be opened. Servers are first asked when they are first needed.
        ValueError: when the URL names a SQLite database in memory, which other processes could not see.
    """
    with _translated():
        if sqlite.speaks(url):
            await asyncio.to_thread(sqlite.create, url)
            return Database(
                reading=sqlite.reading_engine(url, checkout_timeout_s=CHECKOUT_TIMEOUT_S),
                writing=sqlite.writing_engine(url, checkout_timeout_s=CHECKOUT_TIMEOUT_S),
            )
        engine = create_async_engine(url, pool_timeout=CHECKOUT_TIMEOUT_S, pool_pre_ping=True, hide_parameters=True)
        return Database(reading=engine, writing=engine)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn trouble that passes into Unavailable; mistakes of ours, like a wrong column, stay loud."""
    try:
        yield
    except (exc.ProgrammingError, exc.IntegrityError, exc.DataError, exc.NotSupportedError):
        raise
    except (exc.DBAPIError, exc.TimeoutError, exc.DisconnectionError, sqlite3.Error, OSError) as error:
        raise Unavailable from error
