"""Do something with the database from a command: open it, look that it is up to date, do it, close it.

What goes wrong on the way becomes one red line and exit code 1, here and nowhere else. Everything that loads slowly is
imported in here, at the last moment: ``uxo --help`` needs none of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import typer

from deployments.commands.words import remarks, shown
from deployments.errors import Unavailable, UxoError
from deployments.settings import SettingsInvalid, read_settings

if TYPE_CHECKING:
    from deployments.database.database import Database
    from deployments.database.migrations.move import Move
    from deployments.operations.redelivering import Redelivering
    from deployments.tasks.outbox import Outbox
    from deployments.tasks.overview import Overview
    from deployments.tenants.directory import TenantDirectory
    from deployments.tenants.tenant import Tenant

Result = TypeVar("Result")


class DatabaseAway(UxoError):
    """The database cannot be reached."""


def with_overview(work: Callable[[Overview], Awaitable[Result]]) -> Result:
    """Do ``work`` with all tenants' tasks.

    Raises:
        typer.Exit: with code 1, after saying what went wrong.
    """
    from deployments.tasks.overview import Overview  # noqa: PLC0415 -- loads slowly

    with one_line():
        return asyncio.run(_opened(read_settings().store_url, lambda database: work(Overview(database))))


def with_outbox(work: Callable[[Outbox], Awaitable[Result]]) -> Result:
    """Do ``work`` with all tenants' webhooks.

    Raises:
        typer.Exit: with code 1, after saying what went wrong.
    """
    from deployments.tasks.outbox import Outbox  # noqa: PLC0415 -- loads slowly

    with one_line():
        return asyncio.run(_opened(read_settings().store_url, lambda database: work(Outbox(database))))


def with_redelivering(work: Callable[[Overview, Redelivering], Awaitable[Result]]) -> Result:
    """Do ``work`` with all tenants' tasks and what sends their pictures.

    Raises:
        typer.Exit: with code 1, after saying what went wrong.
    """
    from deployments.delivery.presigned_put import put_picture  # noqa: PLC0415 -- loads slowly, as the next
    from deployments.delivery.sink import open_sinks  # noqa: PLC0415
    from deployments.operations.redelivering import Redelivering  # noqa: PLC0415
    from deployments.outbound.client import GuardedClient  # noqa: PLC0415
    from deployments.outbound.rules import Rules  # noqa: PLC0415
    from deployments.tasks.overview import Overview  # noqa: PLC0415
    from deployments.tasks.store import TaskStore  # noqa: PLC0415
    from deployments.telemetry.logs import configure_logging  # noqa: PLC0415
    from deployments.tenants.directory import TenantDirectory  # noqa: PLC0415

    with one_line():
        settings = read_settings()
        configure_logging(level=logging.WARNING, secrets=settings.known_secrets)
        sinks = open_sinks(settings)

        def opened(database: Database) -> Awaitable[Result]:
            client = GuardedClient(Rules.open(settings), openings_of=TenantDirectory(database).openings_of)
            upload = partial(put_picture, client)
            sending = Redelivering(database, store=TaskStore(database), sinks=sinks, upload=upload)
            return work(Overview(database), sending)

        return asyncio.run(_opened(settings.store_url, opened))


def with_directory(work: Callable[[TenantDirectory], Awaitable[Result]]) -> Result:
    """Do ``work`` with tenants and their keys.

    Raises:
        typer.Exit: with code 1, after saying what went wrong.
    """
    from deployments.tenants.directory import TenantDirectory  # noqa: PLC0415 -- loads slowly

    with one_line():
        return asyncio.run(_opened(read_settings().store_url, lambda database: work(TenantDirectory(database))))


def move_tables(*, post: bool) -> Move:
    """Bring the database up to date, as ``uxo migrate`` does.

    Raises:
        typer.Exit: with code 1, after saying what went wrong.
    """
    from deployments.database.migrations.move import move  # noqa: PLC0415 -- loads slowly

    with one_line(), _reached():
        return asyncio.run(move(_usable(read_settings().store_url), post=post))


async def check_database(url: str) -> None:
    """Return if the database at ``url`` answers and has all that this version needs.

    A SQLite file is made and brought up to date by this; a server's tables are only looked at.

    Raises:
        NotMigrated: when something is missing; says which command adds it.
        DatabaseAway: when the database cannot be reached.
        SettingsInvalid: when the URL names no database that can be opened.
    """
    await _opened(url, _nothing)


async def existing(directory: TenantDirectory, name: str) -> Tenant:
    """Read a tenant that has to be there.

    Raises:
        NoSuchTenant: when it is not.
    """
    from deployments.tenants.directory import NoSuchTenant  # noqa: PLC0415 -- loads slowly

    tenant = await directory.find(name)
    if tenant is None:
        raise NoSuchTenant(f"there is no tenant {name}")
    return tenant


@contextmanager
def one_line() -> Iterator[None]:
    """Say in one line what went wrong and leave with exit code 1."""
    try:
        yield
    except UxoError as error:
        remarks.print(shown(error.message), style="red")
        raise typer.Exit(1) from error


async def _opened(url: str, work: Callable[[Database], Awaitable[Result]]) -> Result:
    from deployments.database.database import open_database  # noqa: PLC0415 -- loads slowly
    from deployments.database.migrations import check_migrated  # noqa: PLC0415 -- loads slowly

    with _reached():
        database = await open_database(_usable(url))
        try:
            await database.write(check_migrated)
            return await work(database)
        finally:
            await database.close()


async def _nothing(_database: Database) -> None:
    pass


@contextmanager
def _reached() -> Iterator[None]:
    """Say of a database that is away which one it is and why, where callers of the service are told neither."""
    try:
        yield
    except Unavailable as error:
        where = "it is named by UXO_DATABASE_URL, or lies in UXO_FOLDER"
        raise DatabaseAway(f"cannot reach the database ({_reason(error)}); {where}") from error


def _reason(error: Unavailable) -> str:
    # The database's own words, which the layers above wrap: without the statement and without a link to a manual.
    cause = getattr(error.__cause__, "orig", None) or error.__cause__ or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def _usable(url: str) -> str:
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
    except (ValueError, ArgumentError) as error:
        example = "sqlite:////srv/uxo/uxo.db or postgresql+asyncpg://uxo@host:5432/uxo"
        raise SettingsInvalid(f"UXO_DATABASE_URL cannot be used: it has to be like {example}") from error
    return url
