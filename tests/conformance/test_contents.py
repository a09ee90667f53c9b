"""When what a task holds is due to be erased on every database, and what is left of it afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select, update
from structlog.testing import capture_logs

from deployments.database.database import Database
from deployments.database.schema import task_bodies, task_requests, tasks, webhooks
from deployments.delivering import take_back
from deployments.delivery.files import FilesSink
from deployments.delivery.inline import InlineSink
from deployments.delivery.sink import EncodedImage, OutOfReach
from deployments.erasing import Eraser
from deployments.errors import FaultKind
from deployments.tasks.contents import ContentStore
from deployments.tasks.outbox import Outbox, Room
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Fault, Output, Success, Task, TaskState, Webhook
from deployments.tasks.views import TaskViews
from deployments.tasks.webhook import WebhookState
from deployments.tenants.directory import TenantDirectory
from models.request import GenerationRequest

EndOne = Callable[..., Awaitable[Task]]
#: How long contents are kept in these tests where nobody says otherwise.
KEEP_S = 3600.0
#: Stands in everything that a caller sends here.
CANARY = "canary-7f3a"
PICTURE = EncodedImage(content=CANARY.encode(), content_type="image/png", extension="png")
ROOM = Room(total=9, per_host=9, per_tenant=9)
TELL = Webhook(url=f"http://hooks.example/{CANARY}", base_url="http://us")


@pytest.fixture
def contents(database: Database) -> ContentStore:
    """Return the contents of the store."""
    return ContentStore(database)


@pytest.fixture
def files(tmp_path: Path) -> FilesSink:
    """Return a folder for pictures."""
    return FilesSink(tmp_path / "outputs", ttl_s=KEEP_S)


@pytest.fixture
def eraser(contents: ContentStore, files: FilesSink) -> Eraser:
    """Return an eraser of that store and that folder."""
    return Eraser(contents, {"files": files, "inline": InlineSink()}, keep_s=KEEP_S)


async def value_of(store: TaskStore, task: Task) -> str:
    """Return what the first picture of a task is remembered as; empty once that is gone."""
    found = await store.read(task.id, tenant_id=task.tenant_id)
    return found.outputs[0].value if found and found.outputs else ""


@pytest.fixture
def end_one(
    store: TaskStore, files: FilesSink, make_task: Callable[..., Task], make_request: Callable[..., GenerationRequest]
) -> EndOne:
    """Return what submits a task full of canaries and ends it well; give it the fields that matter."""

    async def end(**fields: Any) -> Task:
        task = make_task(**({"notes": {"prompt": CANARY, "width": "256"}} | fields))
        await store.accept(task, make_request(prompt=CANARY), body=f'{{"prompt": "{CANARY}"}}')
        [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
        outputs = []
        for kind in task.sinks:
            value = CANARY if kind == "inline" else await files.put(f"{task.id}-1-0", PICTURE)
            outputs.append(Output(sink=kind, value=value, content_type="image/png", size_bytes=1, sha256="00", seed=7))
        success = Success(outputs=tuple(outputs), inference_ms=12)
        assert await store.succeed(task.id, fence=claim.task.fence, success=success)
        return task

    return end


async def left(database: Database) -> str:
    """Return everything that the tables hold, as one text."""
    tables: list[Table] = [tasks, task_requests, task_bodies, webhooks]
    return repr([[tuple(row) for row in await database.rows(select(table))] for table in tables])


def on_disk(folder: Path) -> list[Path]:
    """Return the pictures that lie in the folder of a sink."""
    return [path for path in (folder / "outputs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("sinks", [("files",), ("inline",), ("files", "inline")])
async def test_a_task_whose_time_is_over_only_says_how_it_ended(
    eraser: Eraser, end_one: EndOne, store: TaskStore, database: Database, tmp_path: Path, sinks: tuple[str, ...]
) -> None:
    """Its pictures, wish, prompt, body and addresses are gone; its state, its times and its price are not."""
    task = await end_one(sinks=sinks, lifetime_s=-1.0)
    before = await store.read(task.id, tenant_id="alice")

    erased = await eraser.erase_due()

    after = await store.read(task.id, tenant_id="alice")
    assert before is not None
    assert erased == 1
    assert after == replace(before, outputs=(), notes={"width": "256"})
    assert after.state is TaskState.SUCCEEDED
    assert CANARY not in await left(database)
    assert on_disk(tmp_path) == []
    assert await eraser.erase_due() == 0


async def test_a_sink_that_is_away_holds_up_no_other(
    contents: ContentStore, eraser: Eraser, end_one: EndOne, store: TaskStore, database: Database
) -> None:
    """What it holds is put off, says where it is, and is not forgotten; what comes after it is erased at once."""
    stuck = await end_one(sinks=("files",), lifetime_s=-2.0)
    other = await end_one(sinks=("inline",), lifetime_s=-1.0)

    erased = await Eraser(contents, {"inline": InlineSink()}, keep_s=KEEP_S).erase_due()

    assert erased == 1
    assert await contents.due(keep_s=KEEP_S, limit=9) == []
    await store.forget(keep_s=-10)
    assert await store.read(other.id, tenant_id="alice") is None
    found = await store.read(stuck.id, tenant_id="alice")
    assert found is not None
    assert len(found.outputs) == 1
    await database.write(lambda connection: connection.execute(update(tasks).values(erase_at=0)))
    assert await eraser.erase_due() == 1


class Moved(InlineSink):
    """A sink that no longer looks where some of its pictures are."""

    def __init__(self, out_of_reach: str) -> None:
        self.out_of_reach = out_of_reach
        self.removed: list[str] = []

    async def remove(self, value: str) -> None:
        """Remove what is in reach."""
        if value == self.out_of_reach:
            raise OutOfReach("it lies elsewhere")
        self.removed.append(value)


async def test_what_is_out_of_reach_is_kept_and_said(contents: ContentStore, store: TaskStore, end_one: EndOne) -> None:
    """A task whose picture its sink no longer reaches still says where it is; others of that sink are erased."""
    kept = await end_one(sinks=("files",), lifetime_s=-2.0)
    other = await end_one(sinks=("files",), lifetime_s=-1.0)
    moved = Moved(await value_of(store, kept))

    with capture_logs() as events:
        erased = await Eraser(contents, {"files": moved, "inline": moved}, keep_s=KEEP_S).erase_due()

    assert (erased, len(moved.removed)) == (1, 1)
    assert (await value_of(store, kept), await value_of(store, other)) == (moved.out_of_reach, "")
    assert [(one["event"], one["task_id"]) for one in events] == [("picture_out_of_reach", kept.id)]


async def test_receipts_bring_nothing_back(
    eraser: Eraser, end_one: EndOne, store: TaskStore, database: Database
) -> None:
    """A task that was erased while its pictures were sent once more stays erased."""
    task = await end_one(lifetime_s=-1.0)
    sent = await store.read(task.id, tenant_id="alice")
    assert sent is not None
    await eraser.erase_due()

    await store.note_sent(sent, sent.outputs)

    assert CANARY not in await left(database)
    found = await store.read(task.id, tenant_id="alice")
    assert found is not None
    assert found.outputs == ()


async def test_contents_live_as_long_as_they_may(contents: ContentStore, eraser: Eraser, end_one: EndOne) -> None:
    """Neither a task that has ended lately nor one with time left is touched."""
    await end_one()
    await end_one(lifetime_s=KEEP_S)

    assert await contents.due(keep_s=KEEP_S, limit=9) == []
    assert await eraser.erase_due() == 0


async def test_without_a_time_of_its_own_a_task_ages_as_all_do(contents: ContentStore, end_one: EndOne) -> None:
    """What the server keeps for so long is due, in bounded rounds; what was promised for longer is not."""
    aged = [(await end_one()).id for _ in range(3)]
    await end_one(lifetime_s=KEEP_S)

    assert await contents.due(keep_s=-1, limit=9) == aged
    assert await contents.due(keep_s=-1, limit=2) == aged[:2]


@pytest.mark.parametrize(("own_s", "tenants_s", "kept_s"), [(None, 60.0, 60.0), (90.0, 60.0, 60.0), (30.0, 60.0, 30.0)])
async def test_the_shorter_life_time_counts(
    store: TaskStore,
    directory: TenantDirectory,
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
    *,
    own_s: float | None,
    tenants_s: float,
    kept_s: float,
) -> None:
    """A tenant's life time bounds what its calls may ask for, and holds where they ask for nothing."""
    alice = await directory.find("alice")
    assert alice is not None
    await directory.change(replace(alice, lifetime_s=tenants_s))
    await store.accept(make_task(lifetime_s=own_s), make_request())

    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    assert claim.task.lifetime_s == kept_s


async def test_a_deleted_task_leaves_nothing(
    eraser: Eraser, end_one: EndOne, database: Database, tmp_path: Path
) -> None:
    """Its files are gone from the disk, nothing that its caller sent is in a table, and nobody is told any more."""
    task = await end_one(webhook=TELL)
    await TaskViews(database).delete([task.id], dialect="fal", tenant_id="alice")

    erased = await eraser.erase([task.id])

    assert erased == 1
    assert CANARY not in await left(database)
    assert on_disk(tmp_path) == []
    [line] = await Outbox(database).list()
    assert line.state is WebhookState.SILENT


async def test_what_was_deleted_is_found_by_the_next_round(
    eraser: Eraser, end_one: EndOne, database: Database, tmp_path: Path
) -> None:
    """Should the process that deleted it die in that moment, the housekeeper erases it, queued tasks too."""
    task = await end_one(lifetime_s=KEEP_S)
    await TaskViews(database).delete([task.id], dialect="fal", tenant_id="alice")

    assert await eraser.erase_due() == 1
    assert on_disk(tmp_path) == []


async def test_a_task_that_is_deleted_before_its_end_is_erased(
    eraser: Eraser,
    store: TaskStore,
    database: Database,
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
) -> None:
    """Deleting it ends it, and what it was to make is forgotten."""
    task = await store.accept(make_task(webhook=TELL, lifetime_s=KEEP_S), make_request(prompt=CANARY), body=CANARY)
    await TaskViews(database).delete([task.id], dialect="fal", tenant_id="alice")

    assert await eraser.erase_due() == 1
    assert CANARY not in await left(database)


async def test_what_is_still_to_be_told_stays_until_it_is(eraser: Eraser, end_one: EndOne, database: Database) -> None:
    """A webhook under way keeps its address and its bytes; with its end both go, and it can be sent no more."""
    task = await end_one(webhook=TELL, lifetime_s=-1.0)
    outbox = Outbox(database)
    [due] = await outbox.claim_due(ROOM, lease_s=60)
    await outbox.keep_body(due, CANARY)

    await eraser.erase_due()
    during = await left(database)
    await outbox.end(due, WebhookState.DELIVERED, answer="200")

    assert TELL.url in during
    assert CANARY not in await left(database)
    assert await outbox.replay([due.id]) == frozenset()
    assert [line.task_id for line in await outbox.list()] == [task.id]


async def test_an_upload_address_goes_with_a_good_end(end_one: EndOne, database: Database) -> None:
    """It is a permission, and not needed again; where to tell it stays until the task's time is over."""
    await end_one(webhook=TELL, upload_url=f"https://b.example/?sig={CANARY}")

    [row] = await database.rows(select(tasks.c.webhook, tasks.c.upload_url))

    assert TELL.url in row.webhook
    assert row.upload_url is None


async def test_a_failed_task_keeps_what_a_replay_needs(
    store: TaskStore,
    database: Database,
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
) -> None:
    """Where to tell it stays until its time is over; an upload address, which is a permission, never does."""
    task = await store.accept(make_task(webhook=TELL, upload_url="https://b.example/"), make_request())
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    fault = Fault(kind=FaultKind.ENGINE_FAILED, message="no")
    await store.fail(task.id, fence=claim.task.fence, fault=fault)

    [row] = await database.rows(select(tasks.c.webhook, tasks.c.upload_url))

    assert row.webhook is not None
    assert row.upload_url is None


async def test_pictures_that_come_too_late_are_taken_back(
    store: TaskStore, files: FilesSink, end_one: EndOne, tmp_path: Path
) -> None:
    """Those of a task that ended without them are removed; those that its end names stay."""
    task = await end_one()
    found = await store.read(task.id, tenant_id="alice")
    assert found is not None
    late = replace(found.outputs[0], value=await files.put(f"{task.id}-2-0", PICTURE))

    await take_back(task, [*found.outputs, late], store=store, sinks={"files": files})

    assert [path.name for path in on_disk(tmp_path)] == [found.outputs[0].value]


async def test_pictures_of_a_deleted_task_are_taken_back(
    store: TaskStore, files: FilesSink, end_one: EndOne, database: Database, tmp_path: Path
) -> None:
    """Nobody can see it, so nothing that it names stays either."""
    task = await end_one()
    found = await store.read(task.id, tenant_id="alice")
    assert found is not None
    await TaskViews(database).delete([task.id], dialect="fal", tenant_id="alice")

    await take_back(task, found.outputs, store=store, sinks={"files": files})

    assert on_disk(tmp_path) == []
