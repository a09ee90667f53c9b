"""What every store keeps to: a claim's rank is how many of its tenant's tasks were running before it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

import pytest

from deployments.clock import utc_now
from deployments.tasks.claim import ANY_RANK, MANY, Restraint
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Task
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]


@pytest.fixture
async def queued(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> dict[str, list[str]]:
    """Queue three tasks of Alice, then one of Bob; return their ids by tenant."""
    tasks = [make_task(tenant_id=tenant_id) for tenant_id in ("alice", "alice", "alice", "bob")]
    for task in tasks:
        await store.accept(task, make_request())
    return {tenant_id: [task.id for task in tasks if task.tenant_id == tenant_id] for tenant_id in ("alice", "bob")}


async def claim(
    store: TaskStore, *, limit: int = 9, below_rank: int = ANY_RANK, not_of: Collection[str] = ()
) -> list[Claim]:
    """Claim what waits."""
    return await store.claim(
        models=["uno"],
        limit=limit,
        replica_id="r1",
        lease_s=60,
        restraint=Restraint(below_rank=below_rank, not_of=not_of),
    )


@pytest.mark.usefixtures("queued")
async def test_ranks_count_what_runs_for_the_tenant(store: TaskStore) -> None:
    """A tenant's tasks have the ranks 0, 1, 2; another tenant's first has 0."""
    claims = await claim(store)

    ranks = [(claim.task.tenant_id, claim.rank) for claim in claims]
    assert sorted(ranks) == [("alice", 0), ("alice", 1), ("alice", 2), ("bob", 0)]


async def test_a_claim_below_a_rank_passes_over_who_runs_as_many(
    store: TaskStore, queued: dict[str, list[str]]
) -> None:
    """Where only a first task is wanted, a tenant who has one running waits, and the next tenant is served."""
    [first] = await claim(store, limit=1)

    claims = await claim(store, below_rank=1)

    assert first.task.id == queued["alice"][0]
    assert [(claim.task.id, claim.rank) for claim in claims] == [(queued["bob"][0], 0)]
    assert await claim(store, below_rank=0) == []


@pytest.mark.usefixtures("queued")
async def test_what_has_ended_does_not_count(store: TaskStore) -> None:
    """A tenant whose task has ended is as one who has none running."""
    [first] = await claim(store, limit=1)
    await store.cancel(first.task.id, tenant_id="alice")

    ranks = {claim.task.tenant_id: claim.rank for claim in await claim(store, limit=2)}

    assert ranks == {"alice": 0, "bob": 0}


async def test_a_claim_passes_over_whom_it_names(store: TaskStore, queued: dict[str, list[str]]) -> None:
    """Tenants that a claim does not want keep waiting, whatever their place."""
    claims = await claim(store, not_of=["alice", "nobody"])

    assert [claim.task.id for claim in claims] == queued["bob"]


async def test_a_task_yields_while_many_more_of_its_tenant_wait(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Of a tenant that asks for many, only the last do not yield; other tenants' waiting tasks do not count."""
    for tenant_id in ["alice"] * (MANY + 2) + ["bob"]:
        await store.accept(make_task(tenant_id=tenant_id), make_request())

    claims = await claim(store)

    yields = [claim.yields for claim in claims if claim.task.tenant_id == "alice"]
    assert yields == [True, True] + [False] * MANY
    assert [claim.yields for claim in claims if claim.task.tenant_id == "bob"] == [False]


async def test_a_new_task_is_left_to_who_is_idle(
    store: TaskStore, make_task: Callable[..., Task], make_request: Callable[..., GenerationRequest]
) -> None:
    """Who leaves what came lately finds nothing; who leaves nothing takes it, also where its clock was ahead."""
    task = make_task(created_at=utc_now() + timedelta(seconds=30))
    await store.accept(task, make_request())
    asking: dict[str, Any] = {"models": ["uno"], "limit": 1, "replica_id": "r1", "lease_s": 60.0}

    assert await store.claim(**asking, restraint=Restraint(waited_s=0.05)) == []
    [claimed] = await store.claim(**asking)
    assert claimed.task.id == task.id


async def test_a_new_task_is_left_to_nobody_where_nobody_is_idle(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Where something has waited for longer than who is idle would leave it, fair order alone says what is taken."""
    for _ in range(3):
        await store.accept(make_task(tenant_id="alice", created_at=utc_now() - timedelta(seconds=30)), make_request())
    await claim(store, limit=1)
    new = make_task(tenant_id="bob", created_at=utc_now() + timedelta(seconds=30))
    await store.accept(new, make_request())

    claims = await store.claim(
        models=["uno"], limit=1, replica_id="r1", lease_s=60.0, restraint=Restraint(waited_s=0.05, not_of=["alice"])
    )

    assert [claim.task.id for claim in claims] == [new.id]


async def test_what_a_cap_holds_back_says_nothing_of_who_is_idle(
    store: TaskStore, directory: TenantDirectory, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """What waits because its tenant runs as much as it may is no sign that nobody is idle."""
    await directory.change(Tenant(id="alice", max_running=1))
    for _ in range(3):
        await store.accept(make_task(tenant_id="alice", created_at=utc_now() - timedelta(seconds=30)), make_request())
    await claim(store, limit=1)
    await store.accept(make_task(tenant_id="bob", created_at=utc_now() + timedelta(seconds=30)), make_request())

    claims = await store.claim(
        models=["uno"], limit=1, replica_id="r1", lease_s=60.0, restraint=Restraint(waited_s=0.05)
    )

    assert claims == []
