"""Notice writes to a PostgreSQL database by listening on one channel.

    waiting ─► connect ─► LISTEN uxo_tasks ─► notified, notified, … ─► lost ─► pause ─► connect …
                              a change             changes           a change

What was written while nobody listened is unknown, so beginning to listen counts as a change, and so does losing the
connection. A trigger of the tasks table sends the notifications. Knows no table.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import structlog
from sqlalchemy import exc
from sqlalchemy.pool import NullPool

from deployments.database.postgresql import make_engine

log = structlog.get_logger(__name__)

#: The channel that the tasks table's trigger notifies.
CHANNEL = "uxo_tasks"
#: How long to rest between two attempts to connect.
RECONNECT_PAUSE_S = 0.5


class PostgresqlSignal:
    """The store's signal for a database on a server; holds one connection once somebody has waited.

    Args:
        url: SQLAlchemy URL with the asyncpg driver.
    """

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url, poolclass=NullPool)
        self._changes = 0
        self._changed = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    def mark(self) -> int:
        """Name the present state of the store; take it before reading."""
        return self._changes

    async def wait(self, mark: int, *, timeout_s: float) -> None:
        """Return as soon as anything was written since ``mark`` was taken, at the latest after ``timeout_s``."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen_forever())
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._changes == mark:
                    await self._changed.wait()

    async def close(self) -> None:
        """Stop listening; whoever still waits waits out their timeout."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._engine.dispose()

    async def _listen_forever(self) -> None:
        while True:
            try:
                await self._listen_until_lost()
                log.warning("signal_lost", channel=CHANNEL)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, exc.SQLAlchemyError) as error:
                log.warning("signal_not_connected", channel=CHANNEL, reason=type(error).__name__)
            await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _listen_until_lost(self) -> None:
        lost = asyncio.Event()
        async with self._connected() as connection:
            connection.add_termination_listener(lambda _connection: lost.set())
            await connection.add_listener(CHANNEL, self._note_notification)
            self._note_change()
            await lost.wait()
        self._note_change()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        async with self._engine.connect() as held:
            connection: Any = (await held.get_raw_connection()).driver_connection
            try:
                yield connection
            finally:
                connection.terminate()  # without a farewell, for which a server that hangs would keep us waiting

    def _note_notification(self, *_what: object) -> None:
        self._note_change()

    def _note_change(self) -> None:
        self._changes += 1
        self._changed.set()
        self._changed = asyncio.Event()  # whoever comes next waits for the next change
