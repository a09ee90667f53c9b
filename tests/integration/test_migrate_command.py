"""``uxo migrate`` on both databases, and what everybody says of a database that was not migrated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from postgresql_server import PostgresServer
from sqlalchemy import Connection, create_engine, inspect
from typer.testing import CliRunner, Result

from deployments.cli import app
from deployments.database.migrations import (
    NotMigrated,
    TooNew,
    check_migrated,
    newest_pre,
    pending_migrations,
    present_revision,
    upgrade,
)
from deployments.database.migrations.move import patient_engine
from loadtest.virtual.store_rates import store_rates

Uxo = Callable[..., Result]


@pytest.fixture
def connection() -> Iterator[Connection]:
    """Return a connection to an empty database, in a transaction."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def bare_url(postgresql: PostgresServer) -> Iterator[str]:
    """Return the URL of a database on a server that has no tables yet."""
    name = postgresql.create_database()
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture
def uxo(tmp_path: Path) -> Uxo:
    """Return a caller of the command for one database."""

    def call(url: str, *words: str) -> Result:
        return CliRunner().invoke(app, words, env={"UXO_FOLDER": str(tmp_path / "var"), "UXO_DATABASE_URL": url})

    return call


@pytest.mark.parametrize(
    ("revision", "pending"),
    [
        (None, ("0001_pre", "0002_pre", "0002_post", "0003_pre", "0003_post", "0004_pre", "0005_pre")),
        ("0001_pre", ("0002_pre", "0002_post", "0003_pre", "0003_post", "0004_pre", "0005_pre")),
        ("0002_post", ("0003_pre", "0003_post", "0004_pre", "0005_pre")),
        ("0003_post", ("0004_pre", "0005_pre")),
        ("0004_pre", ("0005_pre",)),
        ("0005_pre", ()),
    ],
)
def test_what_older_code_needed_can_wait(connection: Connection, revision: str | None, pending: tuple[str]) -> None:
    """Revisions up to the newest pre are missing until they are there; what only takes away is never missing."""
    if revision:
        upgrade(connection, revision)

    assert pending_migrations(connection) == pending


def test_missing_revisions_are_named_with_the_command(connection: Connection) -> None:
    """Whoever meets an old database is told what to do."""
    upgrade(connection, "0001_pre")

    missing = "0002_pre, 0002_post, 0003_pre, 0003_post, 0004_pre, 0005_pre"
    with pytest.raises(NotMigrated, match=f"lacks {missing}; run: uxo migrate"):
        check_migrated(connection)


@pytest.mark.parametrize("present", [(), ("device_s", "spent", "traceparent")])
def test_tables_get_what_an_earlier_form_of_a_revision_lacked(connection: Connection, present: tuple[str, ...]) -> None:
    """Tables of 0004 get the columns that 0004 had only for a day, whether they are of that day or not."""
    upgrade(connection, "0004_pre")
    for name in present:
        connection.exec_driver_sql(f"ALTER TABLE tasks ADD COLUMN {name} TEXT")

    upgrade(connection)

    columns = {column["name"] for column in inspect(connection).get_columns("tasks")}
    assert {"device_s", "spent", "traceparent"} <= columns
    check_migrated(connection)


def test_newer_tables_serve_older_code(connection: Connection) -> None:
    """A revision that this version does not know is no reason to stop, but one not to move the tables."""
    upgrade(connection)
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999_pre'")

    check_migrated(connection)
    with pytest.raises(TooNew, match="9999_pre"):
        upgrade(connection)


def test_tables_never_go_back(connection: Connection) -> None:
    """Asked for a revision that they have passed, the tables stay where they are."""
    upgrade(connection)
    newest = present_revision(connection)

    upgrade(connection, newest_pre())

    assert present_revision(connection) == newest


def test_a_server_is_moved_in_two_steps(uxo: Uxo, bare_url: str) -> None:
    """First what older code puts up with, then, when asked for, the rest, which is nothing at present."""
    steps = [["migrate"], ["migrate"], ["migrate", "--post"], ["migrate"]]

    said = [uxo(bare_url, *words).stdout for words in steps]

    assert said == [
        "moved the database from nothing to 0005_pre\n",
        "the database is at 0005_pre already\n",
        "the database is at 0005_pre already\n",
        "the database is at 0005_pre already\n",
    ]


def test_a_file_is_moved_all_the_way(uxo: Uxo, sqlite_url: str) -> None:
    """A file belongs to one machine, so nothing older uses it."""
    first, second = (json.loads(uxo(sqlite_url, "migrate", "--json").stdout) for _ in range(2))

    assert first == {"from": None, "to": "0005_pre"}
    assert second == {"from": "0005_pre", "to": "0005_pre"}


@pytest.mark.parametrize(
    "words", [["queue"], ["tenants", "list"], ["keys", "list", "acme"], ["tasks", "list"], ["run"]]
)
def test_a_server_that_was_not_migrated_is_one_clear_line(uxo: Uxo, bare_url: str, words: list[str]) -> None:
    """Nothing migrates a server by the way; every command says which one does."""
    answer = uxo(bare_url, *words)

    assert answer.exit_code == 1
    [line] = [line for line in answer.output.splitlines() if "run: uxo migrate" in line]
    assert line.endswith(
        "the database lacks 0001_pre, 0002_pre, 0002_post, 0003_pre, 0003_post, 0004_pre, 0005_pre; run: uxo migrate"
    )
    assert "Traceback" not in answer.output


def test_after_the_migration_commands_work(uxo: Uxo, bare_url: str) -> None:
    """With the first step alone, everything is there that this version needs."""
    uxo(bare_url, "migrate")

    assert uxo(bare_url, "tenants", "create", "acme", "--budget", "1").exit_code == 0
    assert uxo(bare_url, "queue").stdout == "nothing waits and nothing runs\n"


def test_a_migration_that_fails_leaves_nothing_behind(uxo: Uxo, bare_url: str, postgresql: PostgresServer) -> None:
    """A migration that ends half-way takes everything back, and can simply be run again."""
    name = bare_url.rpartition("/")[2]
    postgresql.run_sql(
        "CREATE TABLE task_requests (in_the_way int)", database=name
    )  # after tasks, in the same revision
    failed = uxo(bare_url, "migrate")
    left = postgresql.run_sql("SELECT to_regclass('tasks'), to_regclass('alembic_version')", database=name)
    postgresql.run_sql("DROP TABLE task_requests", database=name)

    again = uxo(bare_url, "migrate")

    assert failed.exit_code == 1
    assert left.strip() == "|"
    assert again.stdout == "moved the database from nothing to 0005_pre\n"


async def test_a_migration_waits_as_long_as_it_takes(bare_url: str) -> None:
    """None of the limits that keep calls short ends a migration."""
    engine = patient_engine(bare_url)
    async with engine.begin() as connection:
        limits = [
            (await connection.exec_driver_sql(f"SHOW {name}")).scalar_one()
            for name in ("statement_timeout", "lock_timeout")
        ]
        driver: Any = (await connection.get_raw_connection()).driver_connection
        patience_s = driver._config.command_timeout
    await engine.dispose()

    assert limits == ["0", "0"]
    assert patience_s is None


async def test_a_database_that_is_measured_gets_its_tables(bare_url: str) -> None:
    """What a fleet may ask of a server's database is measured in one that nobody has migrated."""
    rates = await store_rates(bare_url, tasks=5)

    assert all(rate > 0 for rate in rates.values())
