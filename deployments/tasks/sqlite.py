"""Everything special about a SQLite file: where it is, how it is opened, and how two processes make it at once.

Knows no table and no statement. Needs a local disk: the write-ahead log does not work over a network file system.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

#: How long a write waits for other processes' writes, unless the URL says ``?timeout=…``.
LOCK_TIMEOUT_S = 5.0
#: The same for opening, where no caller waits and a loaded machine may start many processes at once.
OPEN_TIMEOUT_S = 30.0

# Python's driver would open transactions on its own, late and for rows only; ``_guard`` opens them instead.
_NO_HIDDEN_TRANSACTIONS = {"isolation_level": None}
# Alembic keeps the migration under way in module globals, so threads of one process take turns.
_migrating = threading.Lock()


def speaks(url: str) -> bool:
    """Whether this file is the one to open ``url``."""
    return make_url(url).get_backend_name() == "sqlite"


def file_of(url: str) -> Path:
    """Return the absolute path of the database file.

    Raises:
        ValueError: when the URL names no file.
    """
    database = make_url(url).database
    if not database or database == ":memory:":
        raise ValueError("SQLite needs a file, like sqlite+aiosqlite:///var/uxo.db: other processes must see it too")
    return Path(database).absolute()


def create(url: str) -> None:
    """Make the file and its folder, and bring its tables up to date; blocks while another process does the same."""
    from deployments.tasks.migrations import upgrade  # noqa: PLC0415 -- Alembic is slow to import and needed only here

    path = file_of(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    _turn_on_wal(path, timeout_s=_lock_timeout_s(url, otherwise=OPEN_TIMEOUT_S))
    engine = create_engine(
        _address(url, driver="sqlite+pysqlite", lock_timeout_s=OPEN_TIMEOUT_S), connect_args=_NO_HIDDEN_TRANSACTIONS
    )
    _guard(engine)
    try:
        with _migrating, engine.begin() as connection:
            upgrade(connection)
    finally:
        engine.dispose()


def reading_engine(url: str, *, checkout_timeout_s: float) -> AsyncEngine:
    """Open connections that can only read; in write-ahead-log mode they wait for nobody."""
    engine = create_async_engine(
        _address(url, driver="sqlite+aiosqlite"),
        pool_size=4,
        max_overflow=0,
        pool_timeout=checkout_timeout_s,
        hide_parameters=True,  # they hold prompts and pictures, and errors are logged
    )
    _watch_file(engine.sync_engine, file_of(url))
    event.listen(engine.sync_engine, "connect", _read_only)
    return engine


def writing_engine(url: str, *, checkout_timeout_s: float) -> AsyncEngine:
    """Open the one connection through which this process writes."""
    engine = create_async_engine(
        _address(url, driver="sqlite+aiosqlite"),
        pool_size=1,
        max_overflow=0,
        pool_timeout=checkout_timeout_s,
        connect_args=_NO_HIDDEN_TRANSACTIONS,
        hide_parameters=True,
    )
    _watch_file(engine.sync_engine, file_of(url))
    _guard(engine.sync_engine)
    return engine


def _lock_timeout_s(url: str, *, otherwise: float) -> float:
    return float(str(make_url(url).query.get("timeout", otherwise)))


def _address(url: str, *, driver: str, lock_timeout_s: float = LOCK_TIMEOUT_S) -> URL:
    # mode=rw and not rwc: a file that has gone must be an error, not an empty new database.
    query = {"uri": "true", "mode": "rw", "timeout": str(_lock_timeout_s(url, otherwise=lock_timeout_s))}
    return URL.create(driver, database=f"file:{quote(str(file_of(url)))}", query=query)


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
