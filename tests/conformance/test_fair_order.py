"""What every store keeps to about order: tenants share by weight, and nobody waits for a stranger's backlog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from deployments.tasks.store import TaskStore
from deployments.tasks.task import Success, Task
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
Accept = Callable[..., Awaitable[list[Task]]]


@pytest.fixture
def accept(store: TaskStore, directory: TenantDirectory, make_task: MakeTask, make_request: MakeRequest) -> Accept:
    """Return what submits so many equal tasks of a tenant, who is made if need be."""

    async def accept_some(tenant_id: str, number: int = 1, **fields: Any) -> list[Task]:
        await directory.ensure(tenant_id)
        return [await store.accept(make_task(tenant_id=tenant_id, **fields), make_request()) for _ in range(number)]

    return accept_some


async def claim(store: TaskStore, limit: int = 1, *, model: str = "uno") -> list[Task]:
    """Claim the next tasks of a model."""
    claims = await store.claim(models=[model], limit=limit, replica_id="r1", lease_s=60)
    return [each.task for each in claims]


async def end(store: TaskStore, tasks: Sequence[Task]) -> None:
    """End tasks well."""
    for task in tasks:
        assert await store.succeed(task.id, fence=task.fence, success=Success(outputs=(), inference_ms=1))


async def serve(store: TaskStore, number: int, *, model: str = "uno") -> list[Task]:
    """Claim and end one task after another; return them in their order."""
    served = []
    for _ in range(number):
        task = await claim(store, model=model)
        await end(store, task)
        served += task
    return served


def tenants_of(tasks: Sequence[Task]) -> str:
    """Write the first letters of the tasks' tenants in their order."""
    return "".join(task.tenant_id[0] for task in tasks)


def most_ahead(tasks: Sequence[Task], one: str, other: str) -> float:
    """Return by how much work one tenant was ahead of another at most."""
    sign = {one: 1, other: -1}
    ahead, most = 0.0, 0.0
    for task in tasks:
        ahead += sign.get(task.tenant_id, 0) * task.work_units
        most = max(most, abs(ahead))
    return most


async def test_two_equal_tenants_take_turns(store: TaskStore, accept: Accept) -> None:
    """While both wait, whoever came first has no more than the other, in whichever lots their tasks are claimed."""
    await accept("alice", 12)
    await accept("bob", 12)

    order = [task for limit in (1, 2, 5, 8, 3) for task in await claim(store, limit)]

    assert tenants_of(order) == "ab" * 9 + "a"


async def test_a_newcomer_is_next(store: TaskStore, accept: Accept) -> None:
    """A tenant whose first task comes in the middle of a flood waits for what runs already and for nothing else."""
    await accept("alice", 60)
    await claim(store, 3)
    await accept("bob", 3)
    await accept("carol", 1)

    assert tenants_of(await claim(store, 8)) == "bcababaa"


@pytest.mark.parametrize("sizes", [(1.0, 1.0), (10.0, 1.0), (1.0, 7.5), (0.3, 0.2)])
async def test_work_is_shared_and_not_the_number_of_tasks(
    store: TaskStore, accept: Accept, sizes: tuple[float, float]
) -> None:
    """Who asks for large pictures gets as much of the machine as who asks for small ones, to one task of each."""
    large, small = sizes
    await accept("alice", 30, work_units=large)
    await accept("bob", 30, work_units=small)

    order = await serve(store, 30)

    assert most_ahead(order, "alice", "bob") <= large + small + 1e-9


async def test_twice_the_weight_is_twice_the_work(store: TaskStore, directory: TenantDirectory, accept: Accept) -> None:
    """While all wait, a tenant of weight 2 is served twice what one of weight 1 is, and one of a half its half."""
    for tenant_id, weight in (("carol", 2.0), ("dave", 0.5)):
        await directory.create(Tenant(id=tenant_id, weight=weight))
    for tenant_id in ("alice", "carol", "dave"):
        await accept(tenant_id, 40, work_units=3.0)

    served = Counter(task.tenant_id for task in await serve(store, 35))

    assert served == {"alice": 10, "carol": 20, "dave": 5}


async def test_an_idle_tenant_saves_up_nothing(store: TaskStore, accept: Accept) -> None:
    """Who did not ask for a while is next when they do, once, and then takes turns as everybody."""
    await accept("bob")
    await accept("alice", 40)
    await serve(store, 30)

    await accept("bob", 6)
    await claim(store)

    assert tenants_of(await serve(store, 8)) in {"babababa", "abababab"}


async def test_a_busy_past_is_not_held_against_anybody(store: TaskStore, accept: Accept) -> None:
    """Who used an idle machine alone for a while has the same share as a newcomer from now on."""
    await accept("alice", 30)
    await serve(store, 30)

    await accept("bob", 6)
    await accept("alice", 6)

    order = await serve(store, 10)
    assert most_ahead(order, "alice", "bob") <= 2


async def test_models_do_not_wait_for_one_another(store: TaskStore, accept: Accept) -> None:
    """A tenant's flood of one model does not put back its tasks of another, and claims of one leave the other."""
    await accept("alice", 50, model="uno")
    await serve(store, 20)
    await accept("bob", 2, model="uso")
    await accept("alice", 3, model="uso")

    assert tenants_of(await serve(store, 5, model="uso")) == "babaa"[:5]
    assert tenants_of(await claim(store, 2)) == "aa"


async def test_a_task_handed_back_keeps_its_place(store: TaskStore, accept: Accept) -> None:
    """What a replica gave back, or lost, is next again, before all that came after it."""
    await accept("alice", 4)
    await accept("bob", 4)
    first, second, third = await claim(store, 3)

    await store.release(second.id, fence=second.fence)
    await store.release(first.id, fence=first.fence)

    assert [task.id for task in await claim(store, 2)] == [first.id, second.id]
    assert tenants_of([third, *await claim(store, 5)]) == "ababab"


async def test_a_task_that_was_lost_lets_nobody_pass(store: TaskStore, accept: Accept) -> None:
    """While an old task is tried again, a newcomer takes turns with those who wait, and does not catch up its past."""
    [lost] = await accept("carol")
    await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=-1)
    await accept("alice", 60)
    await serve(store, 40)
    await store.rescue()
    assert [task.id for task in await claim(store)] == [lost.id]

    await accept("bob", 10)

    assert most_ahead(await serve(store, 15), "alice", "bob") <= 2


async def test_a_long_task_lets_nobody_pass(store: TaskStore, accept: Accept) -> None:
    """A task that runs since the beginning is no reason to start a newcomer's count there."""
    await accept("carol", 1, work_units=500.0)
    await claim(store)
    await accept("alice", 60)
    await serve(store, 40)

    await accept("bob", 10)

    assert most_ahead(await serve(store, 15), "alice", "bob") <= 2


async def test_who_asks_one_at_a_time_has_the_same_share(store: TaskStore, accept: Accept) -> None:
    """A tenant that sends its next large task when the last one ended gets no more work done than one that queues."""
    await accept("alice", 80)
    order: list[Task] = []
    await accept("bob", 1, work_units=10.0)

    for _ in range(60):
        task = await claim(store)
        await end(store, task)
        order += task
        if task[0].tenant_id == "bob":
            await accept("bob", 1, work_units=10.0)

    assert most_ahead(order, "alice", "bob") <= 11


async def test_order_outlives_what_it_came_from(store: TaskStore, accept: Accept) -> None:
    """When ended tasks are forgotten, those that wait keep their order, and a newcomer has its turn."""
    await accept("alice", 20)
    await serve(store, 10)

    await store.forget(keep_s=-1)
    await accept("bob", 4)

    assert most_ahead(await serve(store, 8), "alice", "bob") <= 2
