"""Makers of values and an open store, for every kind of test; test modules cannot import from one another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from hypothesis import settings
from postgresql_server import PostgresServer, require_postgresql
from s3_server import S3Server, require_s3

from deployments.database.database import Database, open_database
from deployments.database.migrations.move import move
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task
from deployments.tenants.directory import TenantDirectory
from models.request import GenerationRequest

pytest_plugins = ["golden_table", "sharing_out"]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

# On cores that are shared with other work any example may be slow once; all else stays as it is here, or in CI.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def plain_logs_afterwards() -> Iterator[None]:
    """Undo what a test, or a command that it runs, does about logs, which are one for the whole process."""
    yield
    structlog.reset_defaults()
    logging.setLogRecordFactory(logging.LogRecord)


@pytest.fixture
def make_request() -> Callable[..., GenerationRequest]:
    """Return a maker of small requests; give it the fields that matter."""

    def make(**fields: Any) -> GenerationRequest:
        plain: dict[str, Any] = {
            "model": "uno",
            "prompt": "a cat",
            "references": (),
            "width": 256,
            "height": 256,
            "num_inference_steps": 4,
            "guidance_scale": 3.5,
            "seed": 7,
        }
        return GenerationRequest(**(plain | fields))

    return make


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """Return a maker of queued tasks, each accepted a second after the one before; give it the fields that matter."""
    numbers = count(1)

    def make(**fields: Any) -> Task:
        number = next(numbers)
        plain: dict[str, Any] = {
            "id": f"{number:032x}",
            "tenant_id": "alice",
            "model": "uno",
            "dialect": "fal",
            "notes": {},
            "created_at": NOON + timedelta(seconds=number),
        }
        return Task(**(plain | fields))

    return make


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """Return a running PostgreSQL server, the same for all tests: none of them may stop it."""
    require_postgresql()
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """Return a running S3 server, the same for all tests: each makes buckets of its own."""
    require_s3()
    server = S3Server()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgresServer) -> str:
    """Return the name of a database that has its tables and nothing else, to be copied."""
    name = postgresql.create_database("template_of_tests")
    asyncio.run(move(postgresql.url(name), post=True))
    return name


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'uxo.db'}"


@pytest.fixture
def postgresql_url(postgresql: PostgresServer, postgresql_template: str) -> Iterator[str]:
    """Return the URL of an empty database on the PostgreSQL server."""
    name = postgresql.create_database(template=postgresql_template)
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database, once for each kind."""
    return cast("str", request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database, empty but for its tables."""
    database = await open_database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def directory(database: Database) -> TenantDirectory:
    """Return a directory with two tenants, Alice and Bob."""
    directory = TenantDirectory(database)
    for tenant_id in ("alice", "bob"):
        await directory.ensure(tenant_id)
    return directory


@pytest.fixture
async def open_store(
    database_url: str,
    directory: TenantDirectory,  # noqa: ARG001 -- it makes the tenants whose tasks the stores will hold
) -> AsyncIterator[Callable[[], Awaitable[TaskStore]]]:
    """Return an opener of further stores on the same database, as another process would have."""
    async with AsyncExitStack() as opened:

        async def open_one() -> TaskStore:
            store = await TaskStore.open(database_url)
            opened.push_async_callback(store.close)
            return store

        yield open_one


@pytest.fixture
async def store(open_store: Callable[[], Awaitable[TaskStore]]) -> TaskStore:
    """Return an open store without tasks, once for each kind of database; tasks are Alice's or Bob's."""
    return await open_store()
