"""Notice writes to a SQLite file by asking for its ``data_version`` often.

The pragma reads shared memory, not the disk, and costs microseconds, so it may run on the event loop. It changes with
every commit of every other connection, in this process or another. Knows no table.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress

from deployments.database import sqlite

#: How often the file is looked at while somebody waits: the most that a wake-up is late.
LOOK_EVERY_S = 0.010


class SqliteSignal:
    """The store's signal for a SQLite file.

    Args:
        url: SQLAlchemy URL of the file.
    """

    def __init__(self, url: str) -> None:
        self._path = sqlite.file_of(url)
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None
        self._changes = 0
        self._changed = asyncio.Event()
        self._waiting = 0
        self._looking: asyncio.Task[None] | None = None

    def mark(self) -> int:
        """Name the present state of the store; take it before reading."""
        self._look()
        return self._changes

    async def wait(self, mark: int, *, timeout_s: float) -> None:
        """Return as soon as anything was written since ``mark`` was taken, at the latest after ``timeout_s``."""
        self._waiting += 1
        self._keep_looking()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while self._changes == mark:
                        await self._changed.wait()
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Stop watching; whoever still waits waits out their timeout."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._forget_connection()

    def _keep_looking(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_while_waited_for())

    async def _look_while_waited_for(self) -> None:
        while self._waiting:
            self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    def _look(self) -> None:
        version = self._data_version()
        if version == self._version:
            return
        self._version = version
        self._changes += 1
        self._changed.set()
        self._changed = asyncio.Event()  # whoever comes next waits for the next change

    def _data_version(self) -> int | None:
        """Ask the file; None while it cannot be asked, so its return counts as a change."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"{self._path.as_uri()}?mode=rw", uri=True, timeout=0)
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            self._forget_connection()
            return None

    def _forget_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
