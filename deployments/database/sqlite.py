"""Everything special about a SQLite file: where it is, who writes to it, and how two processes make it at once.

    rows ──► line of 4 threads ──► connections that only read, each sees the last commit
    write ─► line of 1 thread ───► the one connection that writes: BEGIN IMMEDIATE … COMMIT

A call is one hop to a thread and back. This process queues its own writers in one fair line, for the file's lock is
polled and unfair. Knows no table and no statement. Needs a local disk: the write-ahead log does not work over a network
file system.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, Executable, Row, create_engine, event, exc, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from deployments.database.database import CHECKOUT_TIMEOUT_S
from deployments.errors import Unavailable
from deployments.telemetry.metrics import DATABASE_ERRORS

Result = TypeVar("Result")

#: How long a write waits for other processes' writes, unless the URL says ``?timeout=…``.
LOCK_TIMEOUT_S = 5.0
#: The same for opening, where no caller waits and a loaded machine may start many processes at once.
OPEN_TIMEOUT_S = 30.0
#: How many reads of one process run at the same time.
READERS = 4

# Python's driver would open transactions on its own, late and for rows only; ``_guard`` opens them instead.
_NO_HIDDEN_TRANSACTIONS = {"isolation_level": None}
# Alembic keeps the migration under way in module globals, so threads of one process take turns.
_migrating = threading.Lock()


async def open_database(url: str) -> SqliteDatabase:
    """Open the file at ``url``; make and migrate it if it has to be.

    Raises:
        Unavailable: when the file cannot be opened, or another process writes to it for too long.
        ValueError: when the URL names no file.
    """
    await migrate(url)
    return SqliteDatabase(url)


async def migrate(url: str) -> None:
    """Make the file at ``url`` if it has to be, and bring its tables up to date.

    Raises:
        Unavailable: when the file cannot be opened, or another process writes to it for too long.
        ValueError: when the URL names no file.
    """
    with _translated():
        await asyncio.to_thread(create, url)


class SqliteDatabase:
    """An open SQLite file.

    Args:
        url: SQLAlchemy URL of a file that is there and migrated; which driver it names does not matter.
    """

    def __init__(self, url: str) -> None:
        self._reading = reading_engine(url)
        self._writing = writing_engine(url)
        self._readers = _Line("sqlite-read", threads=READERS)
        self._writer = _Line("sqlite-write", threads=1)

    async def rows(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run one reading statement."""

        def read() -> Sequence[Row[Any]]:
            with self._reading.connect() as connection:
                return connection.execute(statement, values).all()

        return await self._readers.call(read)

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in one transaction on the thread that writes, and commit it before returning."""

        def transact() -> Result:
            with self._writing.begin() as connection:
                return work(connection)

        return await self._writer.call(transact)

    async def close(self) -> None:
        """Let running transactions end, then close every connection."""
        await self._readers.close()
        await self._writer.close()
        self._reading.dispose()
        self._writing.dispose()


class _Line:
    """Threads that take calls first come, first served."""

    def __init__(self, name: str, *, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def call(self, work: Callable[[], Result]) -> Result:
        """Run ``work`` when its turn comes, to its end even if the caller goes away meanwhile."""
        latest = time.monotonic() + CHECKOUT_TIMEOUT_S

        def in_turn() -> Result:
            with _translated():
                if time.monotonic() > latest:
                    raise exc.TimeoutError("too many calls were ahead in the line")
                return work()

        try:
            unfinished = asyncio.get_running_loop().run_in_executor(self._threads, in_turn)
        except RuntimeError as error:  # closed: this process is on its way out
            raise Unavailable from error
        # Looked at here, for a caller that has gone away will not, and asyncio complains of what nobody looks at.
        unfinished.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(unfinished)

    async def close(self) -> None:
        """Wait until everyone in the line has had their turn."""
        await asyncio.to_thread(self._threads.shutdown)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn trouble that passes into Unavailable; mistakes of ours, like a wrong column, stay loud."""
    try:
        yield
    except (exc.ProgrammingError, exc.IntegrityError, exc.DataError, exc.NotSupportedError):
        raise
    except (exc.DBAPIError, exc.TimeoutError, exc.DisconnectionError, sqlite3.Error, OSError) as error:
        DATABASE_ERRORS.add()
        raise Unavailable from error


def file_of(url: str) -> Path:
    """Return the absolute path of the database file.

    Raises:
        ValueError: when the URL names no file.
    """
    database = make_url(url).database
    if not database or database == ":memory:":
        raise ValueError("SQLite needs a file, like sqlite:///var/uxo.db: other processes must see it too")
    return Path(database).absolute()


def create(url: str) -> None:
    """Make the file and its folder, and bring its tables up to date; blocks while another process does the same."""
    from deployments.database.migrations import upgrade  # noqa: PLC0415 -- Alembic is slow to import and needed only here

    path = file_of(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    _turn_on_wal(path, timeout_s=_lock_timeout_s(url, otherwise=OPEN_TIMEOUT_S))
    engine = create_engine(_address(url, lock_timeout_s=OPEN_TIMEOUT_S), connect_args=_NO_HIDDEN_TRANSACTIONS)
    _guard(engine)
    try:
        with _migrating, engine.begin() as connection:
            upgrade(connection)
    finally:
        engine.dispose()


def reading_engine(url: str) -> Engine:
    """Open connections that can only read; in write-ahead-log mode they wait for nobody."""
    engine = create_engine(
        _address(url),
        pool_size=READERS,
        max_overflow=0,
        hide_parameters=True,  # they hold prompts and pictures, and errors are logged
    )
    _watch_file(engine, file_of(url))
    event.listen(engine, "connect", _read_only)
    return engine


def writing_engine(url: str) -> Engine:
    """Open the one connection through which this process writes."""
    engine = create_engine(
        _address(url), pool_size=1, max_overflow=0, connect_args=_NO_HIDDEN_TRANSACTIONS, hide_parameters=True
    )
    _watch_file(engine, file_of(url))
    _guard(engine)
    return engine


def _lock_timeout_s(url: str, *, otherwise: float) -> float:
    return float(str(make_url(url).query.get("timeout", otherwise)))


def _address(url: str, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> URL:
    # mode=rw and not rwc: a file that has gone must be an error, not an empty new database.
    query = {"uri": "true", "mode": "rw", "timeout": str(_lock_timeout_s(url, otherwise=lock_timeout_s))}
    return URL.create("sqlite+pysqlite", database=f"file:{quote(str(file_of(url)))}", query=query)


def _turn_on_wal(path: Path, *, timeout_s: float) -> None:
    connection = sqlite3.connect(path, timeout=timeout_s)
    try:
        connection.execute("PRAGMA journal_mode = WAL")  # kept in the file from now on
    finally:
        connection.close()


def _guard(engine: Engine) -> None:
    event.listen(engine, "connect", _durable)
    event.listen(engine, "begin", _begin_immediate)


def _durable(connection: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # NORMAL would leave the last commits in the page cache, and an accepted task would not survive a power cut.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    # What is deleted is overwritten: not every build of SQLite does so by itself.
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


def _read_only(connection: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    # A deferred transaction that reads before it writes can fail at once, busy timeout or not.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _watch_file(engine: Engine, path: Path) -> None:
    """Refuse connections to a file that was deleted or replaced: SQLite would write on into nowhere without a word."""

    def remember(_connection: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["file"] = _identity(path)

    def check(_connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        if entry.info.get("file") != _identity(path):
            raise exc.DisconnectionError("the database file was deleted or replaced")

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", check)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 -- on every checkout; a third of the time of Path.stat
    except OSError:
        return None
    return found.st_dev, found.st_ino
