"""The recorder of traces, on every database: what a task table tells of its orders, and what it must not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncpg import PostgresError
from sqlalchemy import Engine, event, insert, update
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner, Result

from deployments.database.database import Database, open_database
from deployments.database.schema import tasks
from deployments.tasks.rows import to_row
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task
from loadtest.exits import UNUSABLE
from loadtest.trace_commands import app
from loadtest.traces.lines import write_trace
from loadtest.traces.recorder import record
from loadtest.traces.span import Span
from loadtest.traces.table import PAGE, PASSES, rows_of
from models.cost import cost_table, work_units
from models.request import GenerationRequest, Reference, Role

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def put(database: Database, made: list[Task], **columns: Any) -> None:
    """Store tasks as they are, with other values in some columns, without the time that accepting each would take."""
    rows = [to_row(task) | {"weight": 1.0} | columns for task in made]
    await database.write(lambda transaction: transaction.execute(insert(tasks), rows))


@contextmanager
def listening() -> Iterator[list[str]]:
    """Note every statement that is sent to any database."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_orders_come_as_they_came(
    database: Database,
    database_url: str,
    store: TaskStore,
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
) -> None:
    """Times, tenants, sizes, steps, pictures and references are found again; the prompt and the names are not."""
    references = (Reference(role=Role.SUBJECT, source="http://secret.test/a.png"),) * 2
    wish = make_request(prompt="a secret", references=references, width=512, height=512, num_inference_steps=7)
    for number, tenant_id in enumerate(["bob", "alice", "bob"]):
        task = make_task(tenant_id=tenant_id, work_units=work_units(wish, cost_table()), steps_total=7)
        await store.accept(task, wish)
        moved = update(tasks).where(tasks.c.id == task.id).values(created_at=1000.0 + number * 5)
        await database.write(lambda transaction, moved=moved: transaction.execute(moved))  # type: ignore[misc]
    await store.cancel(task.id, tenant_id="bob")

    orders = await record(database_url)

    assert [(order.at_s, order.tenant) for order in orders] == [
        (0, "tenant-001"),
        (5, "tenant-002"),
        (10, "tenant-001"),
    ]
    assert {(each.width, each.images, each.steps, each.references, each.dialect) for each in orders} == {
        (512, 1, 7, 2, "fal")
    }
    assert [order.cancel_after_s is None for order in orders] == [True, True, False]
    text = "".join(write_trace(orders, made_by="a test"))
    assert not any(word in text for word in ("secret", "alice", "bob"))


@pytest.mark.parametrize(
    ("dialect", "roles"),
    [
        ("wavespeed", (Role.STYLE, Role.STYLE, Role.STYLE)),
        ("fal", (Role.CONTENT, Role.STYLE, Role.STYLE)),
        ("runware", (Role.CONTENT,)),
    ],
)
async def test_styles_are_counted_as_styles(
    database_url: str,
    store: TaskStore,
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
    dialect: str,
    roles: tuple[Role, ...],
) -> None:
    """A style costs less than a picture of content; how many there were is told by what the dialect makes of them."""
    references = tuple(Reference(role=role, source="http://a.test/a.png") for role in roles)
    wish = make_request(model="uso", references=references, width=1024, height=1024, num_inference_steps=9)
    task = make_task(model="uso", dialect=dialect, work_units=work_units(wish, cost_table()), steps_total=9)
    await store.accept(task, wish)

    [order] = await record(database_url)

    assert order.references == len(roles)


async def test_pictures_say_what_was_asked_for(
    database: Database,
    database_url: str,
    store: TaskStore,
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
) -> None:
    """Of a success whose wish is forgotten, the pictures tell their size and number, and so the steps of each."""
    wish = make_request(num_images=4)
    task = make_task(steps_total=4 * 12)
    await store.accept(task, wish)
    outputs = json.dumps([{"width": 768, "height": 1152}] * 4)
    ended = update(tasks).where(tasks.c.id == task.id).values(state="succeeded", outputs=outputs)
    await database.write(lambda transaction: transaction.execute(ended))

    orders = await record(database_url)

    assert [(each.width, each.height, each.images, each.steps) for each in orders] == [(768, 1152, 4, 12)]


async def test_a_picture_in_two_places_is_one_picture(
    database: Database, database_url: str, make_task: Callable[..., Task]
) -> None:
    """What is placed in two sinks is told once, with the steps of as many pictures as were asked for."""
    outputs = json.dumps([{"width": 512, "height": 512}] * 4)
    await put(database, [make_task(steps_total=20, work_units=5.0)], sink="bucket,upload", outputs=outputs)

    [order] = await record(database_url)

    assert (order.images, order.steps) == (2, 10)


@pytest.mark.parametrize(
    ("dialect", "model", "told"),
    [
        ("aiml", "uno", "runware"),
        ("kserve", "uno", "runware"),
        ("aiml", "uso", "fal"),
        ("wavespeed", "uno", "wavespeed"),
    ],
)
async def test_a_dialect_that_no_load_speaks_has_a_stand_in(
    sqlite_url: str, make_task: Callable[..., Task], dialect: str, model: str, told: str
) -> None:
    """It is told as one that has words for the same sizes and steps."""
    database = await open_database(sqlite_url)
    outputs = json.dumps([{"width": 624, "height": 880}])
    await put(database, [make_task(dialect=dialect, model=model, steps_total=7)], outputs=outputs)
    await database.close()

    [order] = await record(sqlite_url)

    assert (order.dialect, order.width, order.height, order.steps) == (told, 624, 880, 7)


async def test_a_table_is_read_in_one_statement(
    database: Database, database_url: str, make_task: Callable[..., Task]
) -> None:
    """However many tasks there are, one statement reads them all, and they are told in the order in which they came."""
    made = [make_task(steps_total=4, work_units=1.0) for _ in range(2 * PAGE + 5)]
    await put(database, made[::-1])

    with listening() as sent:
        orders = await record(database_url)

    assert [statement.split()[0] for statement in sent if "tasks" in statement] == ["SELECT"]
    assert "ORDER BY" not in "".join(sent)
    assert [order.at_s for order in orders] == [float(number) for number in range(len(made))]


async def test_no_picture_travels(database: Database, database_url: str, make_task: Callable[..., Task]) -> None:
    """Of a picture that is kept inline, its sides come and nothing else."""
    outputs = json.dumps([{"sink": "inline", "value": "A" * 1_000_000, "width": 640, "height": 480}])
    await put(database, [make_task(steps_total=4, work_units=1.0)], sink="inline", outputs=outputs)

    [row] = [row async for row in rows_of(database_url, Span())]

    assert (row.outputs, row.width, row.height) == (1, "640", "480")
    assert len(repr(row)) < 500


async def test_only_what_came_in_a_span_is_told(
    database: Database, database_url: str, make_task: Callable[..., Task]
) -> None:
    """The start is within and the end is not; the first of those between is due at 0."""
    made = [make_task(created_at=NOON + timedelta(hours=hour), steps_total=4, work_units=1.0) for hour in range(6)]
    await put(database, made)

    orders = await record(database_url, span=Span(since=NOON + timedelta(hours=2), until=NOON + timedelta(hours=4)))

    assert [order.at_s for order in orders] == [0.0, 3600.0]


async def test_a_pass_cannot_write(database: Database, database_url: str, make_task: Callable[..., Task]) -> None:
    """The connection itself refuses to change anything, whatever statement is given to it."""
    await put(database, [make_task()])
    [over] = [each for kind, each in PASSES.items() if database_url.startswith(kind)]
    changing = update(tasks).values(model="uso").returning(tasks.c.id)

    # While it streams, SQLAlchemy lets asyncpg's own errors through.
    with pytest.raises((DBAPIError, PostgresError), match=r"read-?only"):
        [row async for row in over(database_url, changing, {})]  # type: ignore[arg-type]  # it wants what reads


def recorded(*words: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["record", *(str(word) for word in words)], env={"COLUMNS": "200"})


async def test_yesterday_is_written(
    database: Database, database_url: str, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    """The command takes its address from the variable of the service, and says in the heading from when it told."""
    await put(database, [make_task(created_at=NOON + timedelta(hours=hour), steps_total=4) for hour in range(3)])
    output = tmp_path / "yesterday.jsonl"
    words = ["record", "--since", "2026-11-20T13:00", "--output", str(output)]

    asked = await asyncio.to_thread(CliRunner().invoke, app, words, env={"UXO_DATABASE_URL": database_url})

    heading, *orders = map(json.loads, output.read_text(encoding="utf-8").splitlines())
    assert asked.exit_code == 0
    assert heading["since"] == "2026-11-20T13:00:00+00:00"
    assert [order["at_s"] for order in orders] == [0.0, 3600.0]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense:secret", "this is no address of a database"),
        ("postgresql+asyncpg://uxo:secret@host:port/uxo", "this is no address of a database"),
        ("mysql://uxo:secret@host/uxo", "nothing here reads a mysql database"),
        ("sqlite:///{folder}/typo.db", "there is no file"),
        ("sqlite:///{folder}/other.db", "no such table"),
        ("sqlite://", "SQLite needs a file"),
        ("postgresql://uxo:secret@127.0.0.1:9/uxo", "the database cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path, url: str, told: str) -> None:
    """Nothing is made, nothing is written, and no password is repeated."""
    (tmp_path / "other.db").write_bytes(b"")

    asked = recorded(url.format(folder=tmp_path), "--output", tmp_path / "out.jsonl")

    assert asked.exit_code == UNUSABLE
    assert told in asked.output
    assert asked.output.count("\n") == 1
    assert "secret" not in asked.output
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--since", "noon"], "--since noon: no moment"),
        (["--until", "24"], "--until 24: no moment"),
        (["--since", "1h", "--until", "2h"], "--until 2h is not after --since 1h"),
        (["--output", "{folder}"], "{folder}"),
        (["--output", "{folder}/other.db/out.jsonl"], "{folder}/other.db"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path: Path, words: list[str], told: str) -> None:
    """Times and the file to write are looked at first: the database, which is not there, is not even asked."""
    (tmp_path / "other.db").write_bytes(b"")
    given = [word.format(folder=tmp_path) for word in words]

    asked = recorded(f"sqlite:///{tmp_path}/typo.db", "--output", tmp_path / "out.jsonl", *given)

    assert asked.exit_code == UNUSABLE
    assert told.format(folder=tmp_path) in asked.output
    assert "typo.db" not in asked.output
    assert asked.output.count("\n") == 1


@pytest.mark.usefixtures("database")
async def test_an_empty_table_is_no_trace(database_url: str, tmp_path: Path) -> None:
    """Where nobody asked for anything, that is said, and nothing is written."""
    output = tmp_path / "out.jsonl"

    asked = await asyncio.to_thread(recorded, database_url, "--output", output)

    assert (asked.exit_code, asked.output.count("\n")) == (UNUSABLE, 1)
    assert "nobody asked this database for a task" in asked.output
    assert not output.exists()
