"""Everything special about a PostgreSQL server: how it is reached, what it may take, and which of its troubles pass.

    rows ──► pool ──► a connection that commits every statement by itself
    write ─► pool ──► BEGIN … COMMIT, again from the start when it collided with another transaction

A server that goes away and comes back is found again by the next call: connections that broke are not used, and new
ones are made when they are needed. Knows no table and no statement.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection, Executable, Row, event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from deployments.database.database import CHECKOUT_TIMEOUT_S
from deployments.errors import Unavailable
from deployments.telemetry.metrics import DATABASE_ERRORS

Result = TypeVar("Result")

#: Connections that one process holds at most; a server takes 100 unless it is told otherwise.
POOL_SIZE = 8
#: How long a process tries to connect, in seconds.
CONNECT_TIMEOUT_S = 3.0
#: The client's own patience with one statement, in seconds; longer than the server's, which tells more.
ANSWER_TIMEOUT_S = 10.0
#: How often a transaction that collided with another is tried.
ATTEMPTS = 5

#: What every connection asks of the server, in its own words; numbers are milliseconds.
SERVER_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "application_name": "uxo",
        "statement_timeout": "8000",
        "lock_timeout": "3000",
        # A process that stops inside a transaction must not hold rows that others need.
        "idle_in_transaction_session_timeout": "10000",
        # A process whose machine has gone must not hold them either.
        "tcp_user_timeout": "10000",
    }
)

# 5 + 3 * 2 s of silence on an idle connection, or 10 s without an answer to what was sent, and the server is gone.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}

# Classes of SQLSTATE that say nothing about the statement. Source: PostgreSQL 15 documentation, appendix A.
_PASSING_CLASSES = frozenset(
    {
        "08",  # the connection broke
        "28",  # we are not let in: a password is being changed
        "3D",  # the database is not there: not yet, or not any more
        "40",  # another transaction was in the way, or nobody knows how ours ended
        "53",  # too many connections, no memory, no disk
        "57",  # shutting down, starting up, took too long
        "58",  # the server's disk
    }
)
# Only these say that nothing of a transaction is left, so that it may be made again: not 40003, outcome unknown.
_COLLISIONS = frozenset({"40001", "40P01"})
_PASSING_STATES = frozenset(
    {
        "55P03",  # a lock was not free in time
        "25P03",  # our transaction stood idle too long and was ended
        "25006",  # the server is a standby now; the new primary is found by connecting again
    }
)


async def open_database(url: str) -> PostgresqlDatabase:
    """Open the database at ``url``, whose server is first asked when it is first needed."""
    return PostgresqlDatabase(url)


class PostgresqlDatabase:
    """A database on a server.

    Args:
        url: SQLAlchemy URL with the asyncpg driver.
    """

    def __init__(self, url: str) -> None:
        self._writing = make_engine(url, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=CHECKOUT_TIMEOUT_S)
        # The same pool; without BEGIN and COMMIT around it, a read is one journey instead of three.
        self._reading = self._writing.execution_options(isolation_level="AUTOCOMMIT")
        self._unfinished: set[asyncio.Future[Any]] = set()

    async def rows(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run one reading statement."""

        async def read() -> Sequence[Row[Any]]:
            async with self._reading.connect() as connection:
                return (await connection.execute(statement, values)).all()

        # A read that is cancelled costs its connection, and a caller who hangs up must not cost the others one.
        return await self._to_its_end(read())

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in one transaction and commit it before returning."""
        return await self._to_its_end(self._until_it_does_not_collide(work))

    async def close(self) -> None:
        """Let running transactions end, then close every connection."""
        await asyncio.gather(*self._unfinished, return_exceptions=True)
        await self._writing.dispose()

    async def _to_its_end(self, work: Coroutine[Any, Any, Result]) -> Result:
        unfinished = asyncio.ensure_future(work)
        self._unfinished.add(unfinished)  # the loop itself holds running tasks only weakly
        unfinished.add_done_callback(self._unfinished.discard)
        # Looked at here, for a caller that has gone away will not, and asyncio complains of what nobody looks at.
        unfinished.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        with _translated():
            return await asyncio.shield(unfinished)

    async def _until_it_does_not_collide(self, work: Callable[[Connection], Result]) -> Result:
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._transact(work)
            except exc.DBAPIError as error:
                if _sqlstate(error) not in _COLLISIONS:
                    raise
        return await self._transact(work)

    async def _transact(self, work: Callable[[Connection], Result]) -> Result:
        async with self._writing.begin() as connection:
            return await connection.run_sync(work)


def make_engine(url: str, **pool: Any) -> AsyncEngine:
    """Prepare connections to the server at ``url``; ``pool`` says how many.

    Connections that are known to be closed are never handed out.
    """
    engine = create_async_engine(
        url,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": ANSWER_TIMEOUT_S,
            "connection_class": _KeptAlive,
            "server_settings": dict(SERVER_SETTINGS),
        },
        hide_parameters=True,  # they hold prompts and pictures, and errors are logged
        **pool,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


class _KeptAlive(asyncpg.Connection):  # type: ignore[misc]  # asyncpg brings no types
    """A connection that notices when the other machine has gone without a word."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        _keep_alive(transport.get_extra_info("socket"))


def _keep_alive(connected: socket.socket | None) -> None:
    if connected is None:  # it has broken already, which is noticed when it is used
        return
    if connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has them all
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _refuse_closed(connection: Any, _entry: ConnectionPoolEntry, _proxy: Any) -> None:
    # Asking the server by ``pool_pre_ping`` would make three journeys; asyncpg is told when a connection ends.
    if connection.driver_connection.is_closed():
        raise exc.DisconnectionError("the server closed this connection")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn trouble that passes into Unavailable; mistakes of ours, like a wrong column, stay loud."""
    try:
        yield
    except exc.DBAPIError as error:
        if not _is_passing(error):
            raise
        DATABASE_ERRORS.add()
        raise Unavailable from error
    # SQLAlchemy 2.0, other than 2.1, lets asyncpg's own errors through while it connects; all of those may pass.
    except (exc.TimeoutError, exc.DisconnectionError, asyncpg.PostgresError, OSError) as error:
        DATABASE_ERRORS.add()
        raise Unavailable from error
    # Every version does so while it prepares a new connection; the first ones wait there for one another.
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):  # settings or values that no server could take
            raise
        DATABASE_ERRORS.add()
        raise Unavailable from error


def _is_passing(error: exc.DBAPIError) -> bool:
    state = _sqlstate(error)
    return error.connection_invalidated or state[:2] in _PASSING_CLASSES or state in _PASSING_STATES


def _sqlstate(error: exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
