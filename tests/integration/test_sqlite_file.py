"""What is special about SQLite: the file, its folder, its lock, and its migrations."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from deployments.database import sqlite
from deployments.database.database import open_database
from deployments.database.schema import metadata
from deployments.errors import Unavailable
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import DATABASE_ERRORS
from deployments.tenants.directory import TenantDirectory
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]


def url_of(path: Path, *, lock_timeout_s: float | None = None) -> str:
    """Write a file's address as settings do."""
    url = f"sqlite:///{quote(str(path))}"
    return url if lock_timeout_s is None else f"{url}?timeout={lock_timeout_s}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a database file can be made."""
    return tmp_path / "uxo.db"


async def open_for_alice(url: str) -> TaskStore:
    """Open a store in which Alice may have tasks."""
    database = await open_database(url)
    await TenantDirectory(database).ensure("alice")
    return TaskStore(database)


@pytest.mark.parametrize("folder", ["var", "a b", "50%", "%41#b"])
async def test_the_file_and_its_folder_are_made(tmp_path: Path, folder: str) -> None:
    """The first open makes whatever is missing, also in a place whose name means something in an address."""
    path = tmp_path / folder / "uxo.db"

    store = await TaskStore.open(url_of(path))
    await store.ping()
    await store.close()

    assert path.exists()


async def test_what_was_accepted_is_there_after_a_restart(
    path: Path, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Opening a database again migrates nothing away."""
    task = make_task()
    store = await open_for_alice(url_of(path))
    await store.accept(task, make_request())
    await store.close()

    store = await TaskStore.open(url_of(path))
    found = await store.read(task.id, tenant_id=task.tenant_id)
    await store.close()

    assert found == task


async def test_stores_opened_at_once_in_one_process_all_open(path: Path) -> None:
    """Several parts of one process may open fresh files at the same time, the same one or others."""
    urls = [url_of(path.with_name(f"{number % 4}.db")) for number in range(8)]

    stores = await asyncio.gather(*(TaskStore.open(url) for url in urls))

    for store in stores:
        await store.ping()
        await store.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
async def test_a_database_in_memory_is_refused(url: str) -> None:
    """A database that no other process could see is refused by saying what to write instead."""
    with pytest.raises(ValueError, match="needs a file"):
        await TaskStore.open(url)


def test_writes_are_durable_and_reads_cannot_write(path: Path) -> None:
    """The writing connection syncs every commit and keeps references whole; the reading ones are read-only."""
    sqlite.create(url_of(path))
    writing = sqlite.writing_engine(url_of(path))
    reading = sqlite.reading_engine(url_of(path))

    with writing.connect() as writer, reading.connect() as reader:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for connection, name in [
                (writer, "journal_mode"),
                (writer, "synchronous"),
                (writer, "foreign_keys"),
                (reader, "query_only"),
            ]
        ]
    writing.dispose()
    reading.dispose()

    assert pragmas == ["wal", 2, 1, 1]  # 2 is FULL


async def test_a_lock_held_too_long_is_unavailable(path: Path, make_task: MakeTask, make_request: MakeRequest) -> None:
    """While another process writes too long, writes are refused and counted, and reads go on; then both work again."""
    store = await open_for_alice(url_of(path, lock_timeout_s=0.05))
    task = make_task()
    errors = value_of(DATABASE_ERRORS)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")

        with pytest.raises(Unavailable):
            await store.accept(task, make_request())

        assert await store.read(task.id, tenant_id=task.tenant_id) is None

    assert value_of(DATABASE_ERRORS) == errors + 1
    await store.accept(task, make_request())
    assert await store.read(task.id, tenant_id=task.tenant_id) == task
    await store.close()


async def test_a_file_that_cannot_be_migrated_in_time_is_unavailable(path: Path) -> None:
    """Opening waits for another process's writes only so long."""
    sqlite.create(url_of(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")

        with pytest.raises(Unavailable):
            await TaskStore.open(url_of(path, lock_timeout_s=0.05))


async def test_a_deleted_file_is_unavailable(path: Path, make_task: MakeTask, make_request: MakeRequest) -> None:
    """A file that was deleted under an open store takes no more tasks: they would be written into nowhere."""
    store = await open_for_alice(url_of(path))
    await store.accept(make_task(), make_request())

    os.remove(path)  # noqa: PTH107 -- no pathlib in a coroutine

    with pytest.raises(Unavailable):
        await store.accept(make_task(), make_request())
    with pytest.raises(Unavailable):
        await store.ping()
    assert path.name not in os.listdir(path.parent)  # noqa: PTH208 -- the same
    await store.close()


async def test_a_file_that_comes_back_is_used_again(
    tmp_path: Path, path: Path, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A database that is put back serves again without a restart."""
    store = await open_for_alice(url_of(path))
    os.rename(path, tmp_path / "away.db")  # noqa: PTH104 -- no pathlib in a coroutine
    with pytest.raises(Unavailable):
        await store.ping()

    os.rename(tmp_path / "away.db", path)  # noqa: PTH104 -- the same

    await store.accept(make_task(), make_request())
    await store.ping()
    await store.close()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    """A place where no file can be is passing trouble, not a crash."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(Unavailable):
        await TaskStore.open(url_of(tmp_path / "file" / "uxo.db"))


def test_the_migrations_make_what_the_schema_says(path: Path) -> None:
    """After all migrations the tables are exactly those that the statements are built on."""
    sqlite.create(url_of(path))
    engine = create_engine(f"sqlite:///{path}")

    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()

    assert differences == []


def test_a_migration_that_fails_leaves_nothing_behind(path: Path) -> None:
    """A migration that breaks after its first table takes that back too, and the next open finishes the job."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE task_requests (in_the_way TEXT)")
    with pytest.raises(Exception, match="already exists"):
        sqlite.create(url_of(path))
    left_behind = tables_of(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE task_requests")

    sqlite.create(url_of(path))

    assert left_behind == {"task_requests"}
    assert tables_of(path) == {"alembic_version", *metadata.tables}


def tables_of(path: Path) -> set[str]:
    """Name the tables in a file."""
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
