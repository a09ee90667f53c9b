"""Open a database for one purpose, look that it is up to date, and say plainly what is wrong where it is not.

For those who look after the service: its callers are told neither which database it is nor why it is away. Everything
that loads slowly is imported in here, at the last moment: commands import this, and ``uxo --help`` needs none of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from deployments.errors import Unavailable, UxoError
from deployments.settings import SettingsInvalid

if TYPE_CHECKING:
    from deployments.database.database import Database

Result = TypeVar("Result")


class DatabaseAway(UxoError):
    """The database cannot be reached."""


class NotLetIn(DatabaseAway):
    """The database answers, and lets this login not in, or has none of that name."""


#: How SQLSTATEs begin that waiting does not mend: a login that is refused, a database that there is not.
#: Source: PostgreSQL 16 manual, appendix A, "PostgreSQL error codes", seen 2026-11.
_REFUSED = ("28", "3D")


async def check_database(url: str) -> None:
    """Return if the database at ``url`` answers and has all that this version needs.

    A SQLite file is made and brought up to date by this; a server's tables are only looked at.

    Raises:
        NotMigrated: when something is missing; says which command adds it.
        DatabaseAway: when the database cannot be reached.
        SettingsInvalid: when the URL names no database that can be opened.
    """
    await opened(url, _nothing)


async def opened(url: str, work: Callable[[Database], Awaitable[Result]]) -> Result:
    """Do ``work`` with an open database, which is closed afterwards.

    Raises:
        NotMigrated: as ``check_database`` does, and the two below.
        DatabaseAway: when the database cannot be reached.
        SettingsInvalid: when the URL names no database that can be opened.
    """
    from deployments.database.database import open_database  # noqa: PLC0415 -- loads slowly
    from deployments.database.migrations import check_migrated  # noqa: PLC0415 -- loads slowly

    with reached():
        database = await open_database(usable(url))
        try:
            await database.write(check_migrated)
            return await work(database)
        finally:
            await database.close()


async def _nothing(_database: Database) -> None:
    pass


@contextmanager
def reached() -> Iterator[None]:
    """Say of a database that is away which one it is and why, where callers of the service are told neither.

    Raises:
        DatabaseAway: in the place of ``Unavailable``; ``NotLetIn`` where waiting will not mend it.
    """
    try:
        yield
    except Unavailable as error:
        where = "it is named by UXO_DATABASE_URL, or lies in UXO_FOLDER"
        cause = _cause(error)
        # The database's own words, without the statement and without a link to a manual.
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        is_refused = str(getattr(cause, "sqlstate", "")).startswith(_REFUSED)
        raise (NotLetIn if is_refused else DatabaseAway)(f"cannot reach the database ({reason}); {where}") from error


def _cause(error: Unavailable) -> BaseException:
    """Return what the database itself said, which the layers above wrap."""
    return getattr(error.__cause__, "orig", None) or error.__cause__ or error


def usable(url: str) -> str:
    """Return a database's URL if it can be one.

    Raises:
        SettingsInvalid: when it cannot; does not repeat it, for it may hold a password.
    """
    from sqlalchemy import make_url  # noqa: PLC0415 -- loads slowly
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 -- loads slowly

    from deployments.database.sqlite import file_of  # noqa: PLC0415 -- loads slowly

    try:
        if make_url(url).get_backend_name() == "sqlite":
            file_of(url)
    except (ValueError, ArgumentError):
        example = "sqlite:////srv/uxo/uxo.db or postgresql+asyncpg://uxo@host:5432/uxo"
        # From none: the parser's words repeat what it stumbled over, and Serve's status shows every link of the chain.
        raise SettingsInvalid(f"UXO_DATABASE_URL cannot be used: it has to be like {example}") from None
    return url
