"""Wake-ups: wait until the store changed, without asking it again and again.

    signal = open_signal(url)           one per process; any number of waiters share it
    while True:
        mark = signal.mark()            before the read, so that no change after it can be missed
        task = await store.read(...)
        if task is ready: ...
        await signal.wait(mark, timeout_s=1.0)

A wake-up says that something was written, not what: waiters read again. The timeout is the backstop, for a signal may
lose its database. Knows no task and no table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Protocol, cast

from sqlalchemy import make_url


class StoreSignal(Protocol):
    """Something that notices writes to the store by any process."""

    def mark(self) -> int:
        """Name the present state of the store; take it before reading."""

    async def wait(self, mark: int, *, timeout_s: float) -> None:
        """Return as soon as anything was written since ``mark`` was taken, at the latest after ``timeout_s``."""

    async def close(self) -> None:
        """Stop watching; whoever still waits waits out their timeout."""


#: The signal of each kind of database, as ``module:Class`` called with the URL; a new one is one file and one line.
SIGNALS: Mapping[str, str] = MappingProxyType(
    {
        "sqlite": "deployments.database.sqlite_signal:SqliteSignal",
        "postgresql": "deployments.database.postgresql_signal:PostgresqlSignal",
    }
)


def open_signal(url: str) -> StoreSignal:
    """Watch the database at ``url``; starts nothing until somebody waits.

    Raises:
        ValueError: when there is no signal for that kind of database.
    """
    kind = make_url(url).get_backend_name()
    if kind not in SIGNALS:
        raise ValueError(f"nothing watches a {kind} database; there are signals for: {', '.join(SIGNALS)}")
    return cast("StoreSignal", resolve_name(SIGNALS[kind])(url))
