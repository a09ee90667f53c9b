"""The door to the database: one way to read, one way to write, whatever kind it is.

    kind          reads                        writes                                    waits for a lock
    sqlite        up to 4 at once, no locks    one at a time per process, whole file     5 s, then Unavailable
    postgresql    a pool of connections        the same pool, row locks                  3 s, then Unavailable

A write is a plain function of a synchronous connection and runs in one go: on SQLite on the one thread that writes, on
PostgreSQL beside the event loop. Knows no table; what is special about a kind is in the file named after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, cast

from sqlalchemy import Connection, Executable, Row, make_url

Result = TypeVar("Result")

#: How long a call waits for a connection of this process before it is refused.
CHECKOUT_TIMEOUT_S = 10.0


class Database(Protocol):
    """An open database."""

    async def rows(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run one reading statement.

        Raises:
            Unavailable: when the database cannot be reached or stays locked.
        """

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in one transaction and commit it before returning.

        ``work`` may run on another thread and, where transactions collide, more than once: it asks and changes nothing
        but the connection. A caller that is cancelled leaves the transaction running to its end: half of one is never
        thrown away.

        Raises:
            Unavailable: when the database cannot be reached or stays locked; nothing was written, or, if the connection
                broke during the commit itself, all of it may have been.
        """

    async def close(self) -> None:
        """Let running transactions end, then close every connection."""


#: What opens each kind of database, as ``module:function`` called with the URL; a new one is one file and one line.
DATABASES: Mapping[str, str] = MappingProxyType(
    {
        "sqlite": "deployments.database.sqlite:open_database",
        "postgresql": "deployments.database.postgresql:open_database",
    }
)


async def open_database(url: str) -> Database:
    """Open the database at ``url``; a SQLite file is made and migrated if it has to be, a server's is neither.

    Raises:
        Unavailable: when a SQLite file cannot be opened. Servers are first asked when they are first needed.
        ValueError: when the URL names a SQLite database in memory, which other processes could not see, or a kind of
            database that nothing here can open.
    """
    kind = make_url(url).get_backend_name()
    if kind not in DATABASES:
        raise ValueError(f"nothing opens a {kind} database; there are: {', '.join(DATABASES)}")
    return cast("Database", await resolve_name(DATABASES[kind])(url))
