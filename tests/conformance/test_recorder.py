"""The recorder of traces, on every database: what a task table tells of its orders, and what it must not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from deployments.database.database import Database
from deployments.database.schema import tasks
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task
from loadtest.traces.lines import write_trace
from loadtest.traces.recorder import NoDatabase, record
from models.cost import work_units
from models.request import GenerationRequest, Reference, Role


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
        task = make_task(tenant_id=tenant_id, work_units=work_units(wish), steps_total=7)
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
    task = make_task(model="uso", dialect=dialect, work_units=work_units(wish), steps_total=9)
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


async def test_no_file_is_made(tmp_path: Path) -> None:
    """A database that is not there is named and not made."""
    with pytest.raises(NoDatabase, match="there is no file"):
        await record(f"sqlite:///{tmp_path}/typo.db")


async def test_a_file_that_is_none_of_ours_is_one_line(tmp_path: Path) -> None:
    """A file without our tables is refused in our words."""
    path = tmp_path / "other.db"
    path.write_bytes(b"")

    with pytest.raises(NoDatabase):
        await record(f"sqlite:///{path}")
