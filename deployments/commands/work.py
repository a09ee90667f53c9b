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
from deployments.database.reached import opened, reached, usable
from deployments.errors import UxoError
from deployments.settings import read_settings

if TYPE_CHECKING:
    from deployments.database.database import Database
    from deployments.database.migrations.move import Move
    from deployments.operations.redelivering import Redelivering
    from deployments.tasks.outbox import Outbox
    from deployments.tasks.overview import Overview
    from deployments.tenants.directory import TenantDirectory
    from deployments.tenants.tenant import Tenant

Result = TypeVar("Result")


def with_overview(work: Callable[[Overview], Awaitable[Result]]) -> Result:
    """Do ``work`` with all tenants' tasks.

    Raises:
        typer.Exit: with code 1, after saying what went wrong.
    """
    from deployments.tasks.overview import Overview  # noqa: PLC0415 -- loads slowly

    with one_line():
        return asyncio.run(opened(read_settings().store_url, lambda database: work(Overview(database))))


def with_outbox(work: Callable[[Outbox], Awaitable[Result]]) -> Result:
    """Do ``work`` with all tenants' webhooks.

    Raises:
        typer.Exit: with code 1, after saying what went wrong.
    """
    from deployments.tasks.outbox import Outbox  # noqa: PLC0415 -- loads slowly

    with one_line():
        return asyncio.run(opened(read_settings().store_url, lambda database: work(Outbox(database))))


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

        def with_both(database: Database) -> Awaitable[Result]:
            client = GuardedClient(Rules.open(settings), openings_of=TenantDirectory(database).openings_of)
            upload = partial(put_picture, client)
            sending = Redelivering(database, store=TaskStore(database), sinks=sinks, upload=upload)
            return work(Overview(database), sending)

        return asyncio.run(opened(settings.store_url, with_both))


def with_directory(work: Callable[[TenantDirectory], Awaitable[Result]]) -> Result:
    """Do ``work`` with tenants and their keys.

    Raises:
        typer.Exit: with code 1, after saying what went wrong.
    """
    from deployments.tenants.directory import TenantDirectory  # noqa: PLC0415 -- loads slowly

    with one_line():
        return asyncio.run(opened(read_settings().store_url, lambda database: work(TenantDirectory(database))))


def move_tables(*, post: bool) -> Move:
    """Bring the database up to date, as ``uxo migrate`` does.

    Raises:
        typer.Exit: with code 1, after saying what went wrong.
    """
    from deployments.database.migrations.move import move  # noqa: PLC0415 -- loads slowly

    with one_line(), reached():
        return asyncio.run(move(usable(read_settings().store_url), post=post))


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
