"""What every store keeps to: accepting, reading and claiming."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text, update
from sqlalchemy.exc import IntegrityError

from deployments.database.schema import task_requests
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Beat, Preview, Success, Task, TaskState
from models.request import GenerationRequest, ImageFormat, Reference, Role

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
OpenStore = Callable[[], Awaitable[TaskStore]]


async def insert(store: TaskStore, *tasks: Task, request: GenerationRequest) -> None:
    """Insert some tasks that all wish for the same."""
    for task in tasks:
        await store.accept(task, request)


async def claimed_ids(store: TaskStore, **kwargs: Any) -> list[str]:
    """Claim, and tell only which tasks."""
    plain: dict[str, Any] = {"models": ["uno"], "limit": 100, "replica_id": "r1", "lease_s": 60}
    return [claim.task.id for claim in await store.claim(**(plain | kwargs))]


async def test_a_task_is_read_as_it_was_inserted(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Every field of an accepted task comes back, to the microsecond."""
    accepted_at = datetime(2026, 11, 20, 23, 59, 59, 999_999, tzinfo=UTC)
    task = make_task(notes={"webhook": "https://example.org/ä"}, created_at=accepted_at)

    await store.accept(task, make_request())

    assert await store.read(task.id, tenant_id="alice") == task


async def test_an_accepted_task_is_seen_by_every_store(
    store: TaskStore, open_store: OpenStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """What one process accepted, another can read as soon as the insert returned."""
    task, other_store = make_task(), await open_store()

    await store.accept(task, make_request())

    assert await other_store.read(task.id, tenant_id="alice") == task


async def test_only_a_queued_task_is_accepted(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> None:
    """A task cannot enter the store in the middle of its life."""
    task = make_task(state=TaskState.SUCCEEDED)

    with pytest.raises(ValueError, match="queued, not succeeded"):
        await store.accept(task, make_request())

    assert await store.read(task.id, tenant_id="alice") is None


async def test_a_taken_id_is_refused(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> None:
    """A second task with the same id is refused, and the first stays as it was."""
    task = make_task()
    await store.accept(task, make_request())

    with pytest.raises(IntegrityError):
        await store.accept(make_task(id=task.id, tenant_id="bob"), make_request())

    assert await store.read(task.id, tenant_id="alice") == task


@pytest.mark.parametrize("patience_s", [0, 0.0001, 0.001, 0.003, 0.01, 1])
async def test_an_insert_that_is_cancelled_is_whole(
    store: TaskStore, open_store: OpenStore, make_task: MakeTask, make_request: MakeRequest, patience_s: float
) -> None:
    """A caller that goes away in the middle of an insert leaves the whole task or none of it."""
    task, left_alone = make_task(), await open_store()
    with suppress(TimeoutError):
        await asyncio.wait_for(left_alone.accept(task, make_request()), patience_s)
    await left_alone.close()  # which lets what has begun come to its end

    is_there = await store.read(task.id, tenant_id=task.tenant_id) is not None
    claimed = await claimed_ids(store)

    assert claimed == ([task.id] if is_there else [])


@pytest.mark.parametrize(
    "task_id", ["", "f" * 32, "\0", "\ud800", "F" * 32, "1" * 33, "\N{ARABIC-INDIC DIGIT ONE}" * 32]
)
async def test_an_unknown_id_is_nothing(store: TaskStore, task_id: str) -> None:
    """An id that no task has, however odd, reads as nothing and cancels nothing."""
    assert await store.read(task_id, tenant_id="alice") is None
    assert not await store.cancel(task_id, tenant_id="alice")


async def test_tenants_cannot_see_or_cancel_each_others_tasks(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """To every other tenant a task is not there."""
    task = make_task(tenant_id="alice")
    await store.accept(task, make_request())

    was_cancelled = await store.cancel(task.id, tenant_id="bob")

    assert not was_cancelled
    assert await store.read(task.id, tenant_id="bob") is None
    assert await store.read(task.id, tenant_id="alice") == task


async def test_a_claim_carries_task_and_request(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """The replica is told everything, and the task shows that it runs."""
    task = make_task()
    request = make_request(
        prompt="\0 \ud800 🐈",
        references=(Reference(role=Role.SUBJECT, source="data:image/png;base64,AAAA"),),
        seed=2**64,
        output_format=ImageFormat.PNG,
    )
    await store.accept(task, request)

    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    assert claim.request == request
    assert (claim.task.state, claim.task.attempt, claim.task.fence) == (TaskState.RUNNING, 1, 1)
    assert claim.task == await store.read(task.id, tenant_id="alice")


async def test_a_start_is_never_before_its_accept(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A process whose clock is ahead of the database's accepts tasks that still start after it."""
    task = make_task(created_at=datetime(2100, 1, 1, tzinfo=UTC))
    await store.accept(task, make_request())

    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    assert claim.task.started_at == task.created_at


async def test_claims_go_in_order_of_accept(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> None:
    """Of one tenant's tasks, first come is first served, whatever their ids and their clocks say."""
    third, first, second = make_task(), make_task(), make_task()
    await insert(store, first, second, third, request=make_request())

    assert await claimed_ids(store, limit=2) == [first.id, second.id]
    assert await claimed_ids(store, limit=2) == [third.id]
    assert await claimed_ids(store, limit=2) == []


async def test_claims_are_for_the_named_models(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A replica gets the tasks of its models, from each in turn, and no other's."""
    uno, uso, tiny = make_task(model="uno"), make_task(model="uso"), make_task(model="tiny")
    await insert(store, tiny, uso, uno, request=make_request())

    assert await claimed_ids(store, models=["uso", "uno"]) == [uso.id, uno.id]


@pytest.mark.parametrize("nothing", [{"limit": 0}, {"limit": -1}, {"models": []}])
async def test_a_claim_for_nothing_takes_nothing(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest, nothing: dict[str, Any]
) -> None:
    """No room and no models both mean no tasks, and not all of them."""
    await store.accept(make_task(), make_request())

    assert await claimed_ids(store, **nothing) == []


async def test_concurrent_claims_share_no_task(
    store: TaskStore, open_store: OpenStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Two stores that claim at the same time get every task, each exactly once."""
    tasks = [make_task() for _ in range(40)]
    await insert(store, *tasks, request=make_request())
    stores = [store, await open_store()]

    rounds = await asyncio.gather(*(claimed_ids(each, limit=3) for each in stores * 10))

    assert sorted(task_id for ids in rounds for task_id in ids) == [task.id for task in tasks]


async def test_an_unreadable_request_does_not_hold_up_its_neighbours(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A request of another version is left out of the claim; the tasks beside it are claimed as ever."""
    broken, sound = make_task(), make_task()
    await insert(store, broken, sound, request=make_request())
    await overwrite_request(store, broken.id, '{"prompt": "of another version"}')

    assert await claimed_ids(store) == [sound.id]


async def overwrite_request(store: TaskStore, task_id: str, request: str) -> None:
    """Put another text in the place of a stored request."""

    def work(connection: Connection) -> None:
        here = task_requests.c.task_id == task_id
        connection.execute(update(task_requests).where(here).values(request=request))

    await store._database.write(work)


async def test_a_running_task_shows_what_it_looks_like(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """The last preview of the one who holds it is shown, with its progress, to its tenant; nobody else's counts."""
    task = make_task(steps_total=9)
    await store.accept(task, make_request())
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    fence = claim.task.fence

    before = await store.read_preview(task)
    for number in (2, 4):
        await store.note_preview(Beat(task_id=task.id, fence=fence, steps_done=number), preview(number))
    await store.note_preview(Beat(task_id=task.id, fence=fence - 1, steps_done=8), preview(8))

    assert before is None
    assert await store.read_preview(task) == preview(4)
    assert await store.read_preview(replace(task, tenant_id="bob")) is None
    found = await store.read(task.id, tenant_id="alice")
    assert found is not None
    assert found.steps_done == 4


@pytest.mark.parametrize("end", ["succeed", "cancel", "release"])
async def test_what_no_longer_runs_shows_nothing(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest, end: str
) -> None:
    """No preview outlives the attempt that it is of."""
    task = make_task()
    await store.accept(task, make_request())
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    fence = claim.task.fence
    await store.note_preview(Beat(task_id=task.id, fence=fence, steps_done=1), preview(1))

    if end == "succeed":
        await store.succeed(task.id, fence=fence, success=Success(outputs=(), inference_ms=1))
    elif end == "cancel":
        await store.cancel(task.id, tenant_id="alice")
    else:
        await store.release(task.id, fence=fence)
        await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    assert await store.read_preview(task) is None


def preview(steps_done: int) -> Preview:
    """Return a preview after some steps."""
    return Preview(picture=0, steps_done=steps_done, jpeg="/9j/4A==")


async def test_big_requests_travel_whole(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> None:
    """A request of 50 MB of data URIs is claimed as it was accepted."""
    source = "data:image/png;base64," + "A" * 12_500_000
    request = make_request(references=(Reference(role=Role.SUBJECT, source=source),) * 4)
    await store.accept(make_task(), request)

    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    assert claim.request == request


async def test_the_backlog_counts_what_waits_and_what_runs(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Queued and running tasks are counted by model; ended ones are not."""
    tasks = [make_task(), make_task(), make_task(), make_task(model="uso")]
    await insert(store, *tasks, request=make_request())
    await claimed_ids(store, limit=1)
    await store.cancel(tasks[3].id, tenant_id="alice")

    assert await store.backlog() == {"uno": {TaskState.QUEUED: 2, TaskState.RUNNING: 1}}


async def test_a_store_without_tasks_has_no_backlog(store: TaskStore) -> None:
    """Nothing waits in an empty store, and it answers a ping."""
    await store.ping()

    assert await store.backlog() == {}


async def test_a_mistake_in_a_statement_is_not_called_unavailable(store: TaskStore) -> None:
    """Trying again does not help against our own mistakes, so they are not dressed up as passing trouble."""

    def work(connection: Connection) -> None:
        connection.execute(text("insert into tasks (id) values ('half a task')"))

    with pytest.raises(IntegrityError):
        await store._database.write(work)
