"""What every store shows a tenant of its tasks: its own, in its dialect, and none that it has deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from deployments.database.database import Database
from deployments.database.schema import tasks
from deployments.errors import FaultKind
from deployments.tasks.accept import OnceKey
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Fault, Output, Success, Task, TaskState, Webhook
from deployments.tasks.views import Query, TaskViews
from deployments.tenants.directory import TenantDirectory
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
Accept = Callable[..., Awaitable[Task]]


@pytest.fixture
def views(database: Database) -> TaskViews:
    """Return the views of the store."""
    return TaskViews(database)


@pytest.fixture
def accept(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> Accept:
    """Return what submits one more task; give it the fields that matter, and what is written beside it."""

    async def accept_one(*, once: OnceKey | None = None, body: str | None = None, **fields: Any) -> Task:
        return await store.accept(make_task(**fields), make_request(), once=once, body=body)

    return accept_one


def query(**fields: Any) -> Query:
    """Ask for the first page of a hundred; give it what narrows it."""
    first_page: dict[str, Any] = {"dialect": "fal", "page": 1, "page_size": 100}
    return Query(**(first_page | fields))


async def ids(views: TaskViews, asked: Query, *, tenant_id: str = "alice") -> list[str]:
    """Return the ids of a page."""
    return [task.id for task in (await views.page(asked, tenant_id=tenant_id))[0]]


async def test_a_list_is_newest_first_and_ones_own(views: TaskViews, accept: Accept) -> None:
    """Neither another tenant's tasks nor those of another dialect are listed."""
    older, newer = await accept(), await accept()
    await accept(tenant_id="bob")
    await accept(dialect="wavespeed")

    tasks, total = await views.page(query(), tenant_id="alice")

    assert ([task.id for task in tasks], total) == ([newer.id, older.id], 2)


async def test_a_list_comes_in_pages(views: TaskViews, accept: Accept) -> None:
    """Pages share out the list without gaps, each says how many there are in all, and the last may be empty."""
    accepted = [(await accept()).id for _ in range(5)]

    pages = [await views.page(query(page=page, page_size=2), tenant_id="alice") for page in (1, 2, 3, 4)]

    assert [task.id for tasks, _ in pages for task in tasks] == accepted[::-1]
    assert [total for _, total in pages] == [5, 5, 5, 5]


async def test_a_list_is_narrowed(views: TaskViews, accept: Accept, store: TaskStore) -> None:
    """By model, by state and by the moment of the accept."""
    first, second, third = await accept(), await accept(model="uso"), await accept()
    await store.cancel(third.id, tenant_id="alice")

    assert await ids(views, query(model="uso")) == [second.id]
    assert await ids(views, query(states=(TaskState.CANCELLED,))) == [third.id]
    assert await ids(views, query(created_from=second.created_at)) == [third.id, second.id]
    assert await ids(views, query(created_before=second.created_at)) == [first.id]
    assert await ids(views, query(created_from=third.created_at + timedelta(seconds=1))) == []


async def test_a_key_leads_to_its_task(views: TaskViews, accept: Accept) -> None:
    """For its own tenant alone, and not to a task that was deleted."""
    task = await accept(once=OnceKey(key="order 7", fingerprint="f"))

    found = [await views.once("order 7", tenant_id=tenant) for tenant in ("alice", "bob")]
    await views.delete([task.id], dialect="fal", tenant_id="alice")

    assert [each and each.id for each in found] == [task.id, None]
    assert await views.once("order 7", tenant_id="alice") is None


async def test_a_body_is_kept_where_it_was_asked_for(views: TaskViews, accept: Accept) -> None:
    """What a caller had sent comes back as it was; nothing comes of a task without it."""
    with_body, without = await accept(body='{"prompt": "\\u00e9t\\u00e9"}'), await accept()

    assert await views.body(with_body.id) == '{"prompt": "\\u00e9t\\u00e9"}'
    assert await views.body(without.id) is None


async def test_a_place_counts_those_before(views: TaskViews, accept: Accept, store: TaskStore) -> None:
    """Tasks of the same model that will be started first, whoever's they are; started ones no longer count."""
    tasks = [await accept(tenant_id=tenant, work_units=5.0) for tenant in ("alice", "alice", "bob")]
    await accept(model="uso")

    before = [await views.place(task) for task in tasks]
    await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    assert before == [0, 2, 0]
    assert await views.place(tasks[1]) == 1


async def test_a_deleted_task_is_there_for_nobody(views: TaskViews, accept: Accept, store: TaskStore) -> None:
    """It is ended, not listed, not read; deleting it again finds nothing."""
    task, other = await accept(), await accept(tenant_id="bob")
    foreign = await accept(dialect="wavespeed")

    deleted = await views.delete([task.id, other.id, foreign.id, "0" * 32, "odd"], dialect="fal", tenant_id="alice")
    again = await views.delete([task.id], dialect="fal", tenant_id="alice")

    assert (deleted, again) == ([task.id], [])
    assert await store.read(task.id, tenant_id="alice") is None
    assert await ids(views, query()) == []
    assert await store.claim(models=["uno"], limit=9, replica_id="r1", lease_s=60) != []
    assert await store.read(other.id, tenant_id="bob") is not None
    assert await store.read(foreign.id, tenant_id="alice") is not None


async def test_deleting_what_can_be_no_id_finds_nothing(views: TaskViews, accept: Accept) -> None:
    """Whatever a caller names, what is there is deleted and the rest is not."""
    task = await accept()

    deleted = await views.delete(["\0", task.id, "\ud800", "7" * 100_000], dialect="fal", tenant_id="alice")
    again = await views.delete(["\0"], dialect="fal", tenant_id="alice")

    assert (deleted, again) == ([task.id], [])


async def test_a_running_task_that_is_deleted_is_lost_to_its_replica(
    views: TaskViews, accept: Accept, store: TaskStore
) -> None:
    """Its claim is no longer good, and what its replica would write finds no task."""
    await accept()
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    await views.delete([claim.task.id], dialect="fal", tenant_id="alice")

    success = Success(outputs=(), inference_ms=1)
    assert not await store.succeed(claim.task.id, fence=claim.task.fence, success=success)
    assert await store.still_claimed({claim.task.id: claim.task.fence}) == frozenset()


async def test_a_refused_call_can_be_a_failed_task(store: TaskStore, make_task: MakeTask) -> None:
    """It has failed from the start, is never claimed, and costs nothing."""
    fault = Fault(kind=FaultKind.REFUSED, message="num_images must be between 1 and 4")

    task = await store.refuse(make_task(notes={"detail": "[]"}), fault)

    assert (task.state, task.fault, dict(task.notes)) == (TaskState.FAILED, fault, {"detail": "[]"})
    assert task.finished_at is not None
    assert await store.read(task.id, tenant_id="alice") == task
    assert await store.claim(models=["uno"], limit=9, replica_id="r1", lease_s=60) == []


async def test_a_refused_call_uses_up_the_pace(
    store: TaskStore, directory: TenantDirectory, make_task: MakeTask
) -> None:
    """Mistakes do not let a tenant write more rows than its requests per minute."""
    alice = await directory.find("alice")
    assert alice is not None
    await directory.change(type(alice)(id="alice", requests_per_minute=1))
    fault = Fault(kind=FaultKind.REFUSED, message="no")
    await store.refuse(make_task(), fault)

    with pytest.raises(Exception, match="more than 1 requests in a minute"):
        await store.refuse(make_task(), fault)


async def test_a_task_that_is_not_started_in_time_is_cancelled(
    store: TaskStore, accept: Accept, make_task: MakeTask
) -> None:
    """The next rescue ends it, and says why; one that was started in time goes on."""
    long_ago = make_task().created_at - timedelta(days=900)
    running = await accept(start_before=long_ago)
    await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    late, patient = await accept(start_before=long_ago), await accept()

    await store.rescue()

    found = [await store.read(task.id, tenant_id="alice") for task in (running, late, patient)]
    assert [task and task.state for task in found] == [TaskState.RUNNING, TaskState.CANCELLED, TaskState.QUEUED]
    assert found[1] is not None
    assert found[1].fault == Fault(kind=FaultKind.TOO_LATE, message="it was not started in time")


async def test_the_moves_of_a_rescue_do_not_need_each_other(
    database: Database, views: TaskViews, accept: Accept, store: TaskStore, make_task: MakeTask
) -> None:
    """A task that cannot be ended at all is a loud mistake, and even then others wait again or expire."""
    broken = await accept(webhook=Webhook(url="http://a/", base_url=""))
    await accept(tenant_id="bob")
    await store.claim(models=["uno"], limit=2, replica_id="r1", lease_s=-1)
    no_json = update(tasks).where(tasks.c.id == broken.id).values(webhook="{", attempt=3)
    await database.write(lambda connection: connection.execute(no_json))
    await accept(start_before=make_task().created_at - timedelta(days=900))

    with pytest.raises(ValueError, match="property name"):
        await store.rescue()

    states = {state: count.tasks for (_, state), count in (await views.count()).items()}
    assert states == {TaskState.RUNNING: 1, TaskState.QUEUED: 1, TaskState.CANCELLED: 1}


async def test_counts_are_by_model_and_state(views: TaskViews, accept: Accept, store: TaskStore) -> None:
    """Ended tasks bring what they took."""
    await accept()
    await accept()
    await accept(model="uso")
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    await store.succeed(claim.task.id, fence=claim.task.fence, success=Success(outputs=(), inference_ms=40))

    counts = await views.count()

    assert {key: count.tasks for key, count in counts.items()} == {
        ("uno", TaskState.QUEUED): 1,
        ("uno", TaskState.SUCCEEDED): 1,
        ("uso", TaskState.QUEUED): 1,
    }
    assert counts["uno", TaskState.SUCCEEDED].inference_ms == 40
    assert counts["uno", TaskState.SUCCEEDED].finished_at is not None


async def test_a_state_is_read_without_pictures(
    store: TaskStore, views: TaskViews, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Pictures that lie in the task are left out of its state and of lists, and everything else is there."""
    task = make_task(sinks=("inline",))
    await store.accept(task, make_request())
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    output = Output(sink="inline", value="eA==", content_type="image/png", size_bytes=1, sha256="00", seed=7)
    await store.succeed(task.id, fence=claim.task.fence, success=Success(outputs=(output,), inference_ms=9))

    whole = await store.read(task.id, tenant_id="alice")
    state = await store.read_state(task.id, tenant_id="alice")
    [listed], _ = await views.page(query(), tenant_id="alice")

    assert whole is not None
    assert whole.outputs == (output,)
    assert state == listed == replace(whole, outputs=())


async def test_a_state_is_ones_own(store: TaskStore, accept: Accept) -> None:
    """Another tenant's is not there, and what can be no id is nobody's."""
    task = await accept()

    assert await store.read_state(task.id, tenant_id="bob") is None
    assert await store.read_state("\0", tenant_id="alice") is None
