"""What every claim keeps to about caps on running tasks: never more than that, and nobody else waits for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from deployments.errors import FaultKind
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Fault, Success, Task
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
OpenStore = Callable[[], Awaitable[TaskStore]]
Accept = Callable[..., Awaitable[None]]
SUCCESS = Success(outputs=(), inference_ms=1)


@pytest.fixture
def accept(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> Accept:
    """Return what submits so many equal tasks of a tenant."""

    async def accept_some(tenant_id: str, number: int, **fields: Any) -> None:
        for _ in range(number):
            await store.accept(make_task(tenant_id=tenant_id, **fields), make_request())

    return accept_some


async def set_cap(directory: TenantDirectory, max_running: int | None, tenant_id: str = "alice") -> None:
    """Let a tenant run so many tasks at once."""
    await directory.change(Tenant(id=tenant_id, max_running=max_running))


async def claim(store: TaskStore, limit: int = 10, *, models: tuple[str, ...] = ("uno",)) -> list[Task]:
    """Claim what may be claimed."""
    return [each.task for each in await store.claim(models=models, limit=limit, replica_id="r1", lease_s=60)]


def tenants_of(tasks: list[Task]) -> str:
    """Write the first letters of the tasks' tenants in their order."""
    return "".join(task.tenant_id[0] for task in tasks)


@pytest.mark.parametrize("cap", [1, 3, None])
async def test_a_claim_stops_at_the_cap(
    store: TaskStore, directory: TenantDirectory, accept: Accept, cap: int | None
) -> None:
    """In one claim or in several, a tenant runs as many tasks as it may; without a cap it runs all."""
    await set_cap(directory, cap)
    await accept("alice", 5)

    taken = [len(await claim(store, limit)) for limit in (2, 5, 5)]

    assert sum(taken) == (cap or 5)


async def test_a_tenant_at_its_cap_holds_up_nobody(
    store: TaskStore, directory: TenantDirectory, accept: Accept
) -> None:
    """The others' tasks are claimed past those that may not run yet, which keep their places."""
    await set_cap(directory, 1)
    await accept("alice", 4)
    await accept("bob", 4)

    first = await claim(store, 3)
    await store.succeed(first[0].id, fence=1, success=SUCCESS)

    assert tenants_of(first) == "abb"
    assert tenants_of(await claim(store, 9)) == "abb"


async def test_the_cap_counts_over_all_models(store: TaskStore, directory: TenantDirectory, accept: Accept) -> None:
    """A tenant's tasks of one model leave less room for those of another, in the same claim too."""
    await set_cap(directory, 3)
    await accept("alice", 3, model="uno")
    await accept("alice", 3, model="uso")

    assert [task.model for task in await claim(store, models=("uno", "uso"))] == ["uno", "uso", "uno"]
    assert await claim(store, models=("uso",)) == []


async def test_every_end_makes_room(store: TaskStore, directory: TenantDirectory, accept: Accept) -> None:
    """Whether a task succeeds, fails, is cancelled, handed back or lost, another may run in its place."""
    await set_cap(directory, 1)
    await accept("alice", 6)
    fault = Fault(kind=FaultKind.ENGINE_FAILED, message="no")
    ends: list[Callable[[Task], Awaitable[bool]]] = [
        lambda task: store.succeed(task.id, fence=task.fence, success=SUCCESS),
        lambda task: store.fail(task.id, fence=task.fence, fault=fault),
        lambda task: store.cancel(task.id, tenant_id="alice"),
        lambda task: store.release(task.id, fence=task.fence),
    ]

    for end in ends:
        [task] = await claim(store)
        assert await claim(store) == []
        assert await end(task)
    await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=-1)
    assert await claim(store) == []
    await store.rescue()

    assert len(await claim(store)) == 1


async def test_a_cap_may_change(store: TaskStore, directory: TenantDirectory, accept: Accept) -> None:
    """A lower cap stops nothing that runs, and then nothing starts until there is room; a higher one holds at once."""
    await accept("alice", 9)
    running = await claim(store, 4)

    await set_cap(directory, 2)
    for task in running[:2]:
        assert await claim(store) == []
        await store.succeed(task.id, fence=task.fence, success=SUCCESS)
    assert await claim(store) == []

    await set_cap(directory, 5)
    assert len(await claim(store)) == 3


async def test_a_deleted_tenant_has_no_cap(store: TaskStore, directory: TenantDirectory, accept: Accept) -> None:
    """What a tenant left waiting is carried out when the tenant is gone."""
    await set_cap(directory, 1)
    await accept("alice", 3)
    await claim(store)

    await directory.delete("alice")

    assert len(await claim(store)) == 2


async def test_racing_claims_pass_no_cap(
    store: TaskStore, directory: TenantDirectory, open_store: OpenStore, accept: Accept
) -> None:
    """However many replicas claim at once from several processes, no tenant runs more than it may at any moment."""
    caps = {"alice": 3, "bob": 2}
    for tenant_id, cap in caps.items():
        await set_cap(directory, cap, tenant_id)
        await accept(tenant_id, 20)
    stores = [store, await open_store(), await open_store()]
    running: Counter[str] = Counter()
    ended = 0

    async def replica(place: TaskStore, number: int) -> None:
        nonlocal ended
        while ended < 40:
            for task in await claim(place, 1 + number % 3):
                running[task.tenant_id] += 1
                assert running[task.tenant_id] <= caps[task.tenant_id]
                await place.ping()
                running[task.tenant_id] -= 1
                assert await place.succeed(task.id, fence=task.fence, success=SUCCESS)
                ended += 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(replica(stores[number % 3], number) for number in range(9)))

    assert await store.backlog() == {}
