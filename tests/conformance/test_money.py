"""What every store keeps to about money: held at the accept, charged once at the end, and never more than was held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import select

from deployments.database.database import Database
from deployments.database.schema import charges
from deployments.errors import FaultKind
from deployments.tasks.settle import charge
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Beat, Fault, Success, Task, TaskState
from deployments.tenants.directory import TenantDirectory
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
OpenStore = Callable[[], Awaitable[TaskStore]]
Accept = Callable[..., Awaitable[Task]]
End = Callable[[TaskStore, Task], Coroutine[Any, Any, bool]]


@pytest.fixture
def accept(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> Accept:
    """Return what submits a task of 10 steps at a price of 1000; give it the fields that differ."""

    async def accept_one(**fields: Any) -> Task:
        return await store.accept(make_task(**({"price": 1000, "steps_total": 10} | fields)), make_request())

    return accept_one


async def claim(store: TaskStore, *, lease_s: float = 60) -> Task:
    """Claim the next task."""
    [claimed] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=lease_s)
    return claimed.task


async def succeed(store: TaskStore, task: Task) -> bool:
    """End a task well."""
    return await store.succeed(task.id, fence=task.fence, success=Success(outputs=(), inference_ms=1))


async def fail(store: TaskStore, task: Task) -> bool:
    """End a task badly."""
    return await store.fail(task.id, fence=task.fence, fault=Fault(kind=FaultKind.ENGINE_FAILED, message="no"))


async def cancel(store: TaskStore, task: Task) -> bool:
    """End a task as its tenant."""
    return await store.cancel(task.id, tenant_id=task.tenant_id)


async def beat(store: TaskStore, task: Task, *, steps_done: int, lease_s: float = 60) -> None:
    """Report steps."""
    await store.beat([Beat(task_id=task.id, fence=task.fence, steps_done=steps_done)], lease_s=lease_s)


async def money(directory: TenantDirectory, tenant_id: str = "alice") -> tuple[int, int]:
    """Return what is held for a tenant and what it has spent."""
    tenant = await directory.find(tenant_id)
    assert tenant is not None
    return tenant.held, tenant.spent


async def written_down(database: Database) -> dict[str, int]:
    """Return every charge by the id of its task."""
    return {row.task_id: row.amount for row in await database.rows(select(charges))}


async def test_a_price_is_held_until_the_end_and_then_charged(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """From accept to success the price is held; then it is spent, once, and written down with task and tenant."""
    accepted = await accept()
    assert await money(directory) == (1000, 0)
    task = await claim(store)
    assert await money(directory) == (1000, 0)

    await succeed(store, task)

    ended = await store.read(task.id, tenant_id="alice")
    assert ended is not None
    assert ended.finished_at is not None
    assert await money(directory) == (0, 1000)
    [row] = await database.rows(select(charges))
    assert (row.task_id, row.tenant_id, row.model, row.amount) == (accepted.id, "alice", "uno", 1000)
    assert row.charged_at == pytest.approx(ended.finished_at.timestamp(), abs=60)
    assert await money(directory, "bob") == (0, 0)


async def test_pictures_that_are_drawn_and_kept_are_paid_for(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """An upload address that answers 4xx, whatever it has kept, makes nothing free; the charge is written down."""
    await accept()
    task = await claim(store)
    fault = Fault(kind=FaultKind.UPLOAD_FAILED, message="the upload address answered 403")

    await store.fail(task.id, fence=task.fence, fault=fault)

    assert await money(directory) == (0, 1000)
    assert await written_down(database) == {task.id: 1000}


async def test_a_failed_task_costs_nothing(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """What cannot be made is not paid for, however many of its steps were taken."""
    await accept()
    task = await claim(store)
    await beat(store, task, steps_done=9)

    await fail(store, task)

    assert await money(directory) == (0, 0)
    assert await written_down(database) == {}


async def test_a_task_that_is_given_up_costs_nothing(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """While a task goes from replica to replica its price stays held, once; when it is given up it is free."""
    for tenant_id in ("alice", "bob", "alice"):
        await accept(tenant_id=tenant_id)
    for _ in range(2):
        await store.claim(models=["uno"], limit=9, replica_id="r1", lease_s=-1)
        assert (await store.rescue(max_attempts=3)).requeued == 3
        assert await money(directory) == (2000, 0)
    await store.claim(models=["uno"], limit=9, replica_id="r1", lease_s=-1)

    assert (await store.rescue(max_attempts=3)).quarantined == 3

    assert (await money(directory), await money(directory, "bob")) == ((0, 0), (0, 0))
    assert await written_down(database) == {}


async def test_a_task_handed_back_is_held_and_not_charged(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """Work that a replica gives back has cost nothing yet."""
    await accept()
    task = await claim(store)
    await beat(store, task, steps_done=9)

    await store.release(task.id, fence=task.fence)

    assert await money(directory) == (1000, 0)
    assert await written_down(database) == {}


async def test_a_task_cancelled_before_its_start_costs_nothing(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """Who changes their mind in time pays nothing, also when a start that was undone lies before it."""
    first, second = await accept(), await accept()
    task = await claim(store)
    await beat(store, task, steps_done=9)
    await store.release(task.id, fence=task.fence)

    for queued in (first, second):
        assert await cancel(store, queued)

    assert await money(directory) == (0, 0)
    assert await written_down(database) == {}


@pytest.mark.parametrize(("steps_done", "cost"), [(0, 0), (1, 100), (3, 300), (10, 1000), (11, 1000)])
async def test_a_task_cancelled_while_it_runs_costs_the_steps_it_took(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept, steps_done: int, cost: int
) -> None:
    """A cancel is charged by the share of steps that were reported, never more than the price, and frees the rest."""
    await accept()
    task = await claim(store)
    await beat(store, task, steps_done=steps_done)

    assert await cancel(store, task)

    assert await money(directory) == (0, cost)
    assert await written_down(database) == ({task.id: cost} if cost else {})


@pytest.mark.parametrize("again", [succeed, fail, cancel])
@pytest.mark.parametrize("end", [succeed, fail, cancel])
async def test_to_end_a_task_again_moves_no_money(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept, end: End, again: End
) -> None:
    """An end settles once; whatever else is tried afterwards finds the money where it is."""
    await accept()
    task = await claim(store)
    await beat(store, task, steps_done=5)
    await end(store, task)
    before = await money(directory), await written_down(database)

    assert not await again(store, task)

    assert (await money(directory), await written_down(database)) == before


async def test_a_late_replica_moves_no_money(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """Of two replicas that made the same picture, only the one that holds the claim is paid for."""
    await accept()
    stale = await claim(store, lease_s=-1)
    await store.rescue()
    newer = await claim(store)

    ends = [await succeed(store, stale), await succeed(store, newer), await succeed(store, stale)]

    assert ends == [False, True, False]
    assert await money(directory) == (0, 1000)
    assert await written_down(database) == {newer.id: 1000}


async def test_racing_ends_settle_once(
    store: TaskStore, open_store: OpenStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """When replicas and tenants end the same tasks at once, each is settled once and nothing stays held."""
    other = await open_store()
    for number in range(24):
        await accept(tenant_id=("alice", "bob")[number % 2])
    claims = await store.claim(models=["uno"], limit=24, replica_id="r1", lease_s=60)
    racing = [end(place, each.task) for each in claims for place in (store, other) for end in (succeed, fail, cancel)]

    ends = await asyncio.gather(*racing)

    amounts = await written_down(database)
    assert sum(ends) == 24
    assert set(amounts.values()) <= {1000}
    for tenant_id in ("alice", "bob"):
        mine = [amounts.get(each.task.id, 0) for each in claims if each.task.tenant_id == tenant_id]
        assert await money(directory, tenant_id) == (0, sum(mine))


async def test_charges_outlive_their_tasks(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """When a task is forgotten, what it has cost is not; nor when its tenant is deleted."""
    await accept()
    task = await claim(store)
    await succeed(store, task)

    await store.forget(keep_s=-1)

    assert await store.read(task.id, tenant_id="alice") is None
    assert await money(directory) == (0, 1000)
    await directory.delete("alice")
    assert await written_down(database) == {task.id: 1000}


@pytest.mark.parametrize(
    ("state", "steps_done", "cost"),
    [
        (TaskState.SUCCEEDED, 0, 1001),
        (TaskState.FAILED, 10, 0),
        (TaskState.CANCELLED, 5, 500),
        (TaskState.CANCELLED, 9, 900),
        (TaskState.CANCELLED, 99, 1001),
    ],
)
def test_what_an_end_costs(state: TaskState, steps_done: int, cost: int) -> None:
    """Success costs the price, failure nothing, and a cancel its share, rounded in the tenant's favour."""
    assert charge(state, price=1001, steps_done=steps_done, steps_total=10) == cost
