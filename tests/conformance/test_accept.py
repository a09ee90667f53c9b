"""What every accept keeps to: all of it or nothing, once per key, within the tenant's limits, whoever races."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from deployments.database.database import Database
from deployments.database.schema import metadata, tenants
from deployments.errors import (
    BudgetExhausted,
    CallRefused,
    KeyReused,
    ModelNotAllowed,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
)
from deployments.tasks.accept import OnceKey
from deployments.tasks.store import KEEP_KEYS_S, TaskStore
from deployments.tasks.task import Success, Task, TaskState
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
OpenStore = Callable[[], Awaitable[TaskStore]]
Accept = Callable[..., Awaitable[Task]]
ONCE = OnceKey(key="order 7", fingerprint="of the body")


@pytest.fixture
def accept(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> Accept:
    """Return what submits one more task; give it the fields that matter, and the store it goes to."""

    async def accept_one(*, to: TaskStore = store, once: OnceKey | None = None, **fields: Any) -> Task:
        return await to.accept(make_task(**fields), make_request(), once=once)

    return accept_one


async def all_rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Read everything there is."""
    return {
        table.name: sorted(tuple(row) for row in await database.rows(select(table)))
        for table in metadata.sorted_tables
        if table.name not in {"tenants", "api_keys"}
    } | {"tenants": [tuple(row) for row in await database.rows(select(tenants).order_by(tenants.c.id))]}


async def find(directory: TenantDirectory, tenant_id: str = "alice") -> Tenant:
    """Read a tenant that is there."""
    found = await directory.find(tenant_id)
    assert found is not None
    return found


async def run_one(store: TaskStore) -> Task:
    """Claim the next task."""
    [claim] = await store.claim(models=["uno", "uso"], limit=1, replica_id="r1", lease_s=60)
    return claim.task


async def succeed(store: TaskStore, task: Task) -> None:
    """End a task well."""
    assert await store.succeed(task.id, fence=task.fence, success=Success(outputs=(), inference_ms=1))


@pytest.mark.parametrize(
    ("tenant", "refused_as"),
    [
        (Tenant(id="alice", models=frozenset({"uso"})), ModelNotAllowed),
        (Tenant(id="alice", max_queued=1), QuotaExceeded),
        (Tenant(id="alice", max_queued_units=7.0), QuotaExceeded),
        (Tenant(id="alice", requests_per_minute=1), QuotaExceeded),
        (Tenant(id="alice", budget=109), BudgetExhausted),
    ],
)
async def test_a_refusal_leaves_no_trace(
    database: Database, directory: TenantDirectory, accept: Accept, tenant: Tenant, refused_as: type[CallRefused]
) -> None:
    """What a tenant may not have is refused by the limit that forbids it, and no row anywhere tells of it."""
    await directory.change(replace(tenant, models=None))
    await accept(work_units=4.0, price=60)
    await directory.change(tenant)
    before = await all_rows(database)

    with pytest.raises(refused_as):
        await accept(work_units=4.0, price=50, once=ONCE)

    assert await all_rows(database) == before


async def test_a_mistake_on_the_way_leaves_no_trace(
    database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """When one row of an accept cannot be written, none is, and no money is held."""
    await database.write(lambda connection: connection.execute(text("ALTER TABLE task_requests RENAME TO elsewhere")))

    with pytest.raises((DBAPIError, Unavailable)):
        await accept(price=9, once=ONCE)

    await database.write(lambda connection: connection.execute(text("ALTER TABLE elsewhere RENAME TO task_requests")))
    assert [len(rows) for name, rows in (await all_rows(database)).items() if name != "tenants" and len(rows)] == []
    assert (await find(directory)).held == 0


async def test_an_accept_writes_all_there_is_to_write(
    database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """One accept is one task, one request, one key, and the price held."""
    await accept(price=60, once=ONCE)

    rows = await all_rows(database)

    assert {name: len(found) for name, found in rows.items() if name != "tenants"} == {
        "tasks": 1,
        "task_requests": 1,
        "idempotency_keys": 1,
        "charges": 0,
        "task_bodies": 0,
        "webhooks": 0,
        "kept_pictures": 0,
    }
    assert (await find(directory)).held == 60


@pytest.mark.parametrize("tenant_id", ["nobody", "", "ALICE"])
async def test_nobody_is_not_let_in(database: Database, accept: Accept, tenant_id: str) -> None:
    """A tenant that is not there, or no more, is answered as one who showed a wrong key."""
    before = await all_rows(database)

    with pytest.raises(Unauthenticated):
        await accept(tenant_id=tenant_id)

    assert await all_rows(database) == before


async def test_a_tenant_that_is_deleted_is_not_let_in(directory: TenantDirectory, accept: Accept) -> None:
    """A call whose key was looked up before its tenant was deleted comes too late."""
    await accept(once=ONCE)
    await directory.delete("alice")

    with pytest.raises(Unauthenticated):
        await accept(once=ONCE)


async def test_waiting_tasks_are_counted_and_others_are_not(
    store: TaskStore, directory: TenantDirectory, accept: Accept
) -> None:
    """The cap is on what waits: what runs or has ended leaves room, what is handed back takes it again."""
    await directory.change(Tenant(id="alice", max_queued=2))
    await accept()
    await accept(model="uso")
    running = await run_one(store)

    await accept()
    with pytest.raises(QuotaExceeded, match=r"^2 tasks are waiting already$"):
        await accept()
    await store.release(running.id, fence=running.fence)
    with pytest.raises(QuotaExceeded, match=r"^3 tasks are waiting already$"):
        await accept()

    assert (await accept(tenant_id="bob")).tenant_id == "bob"


async def test_waiting_units_are_added_up(store: TaskStore, directory: TenantDirectory, accept: Accept) -> None:
    """The cap on units looks at the size of tasks, over all models, and lets in what just fits."""
    await directory.change(Tenant(id="alice", max_queued_units=10.0))
    await accept(work_units=6.0)
    await accept(work_units=4.0, model="uso")

    with pytest.raises(QuotaExceeded, match=r"^10 work units are waiting already$"):
        await accept(work_units=0.1)

    await run_one(store)
    await accept(work_units=4.0)


async def test_the_advice_follows_the_queue(database: Database, directory: TenantDirectory, accept: Accept) -> None:
    """A tenant whose four tasks wait since a hundred seconds is told to come again in twenty-five."""
    await directory.change(Tenant(id="alice", max_queued=4))
    for _ in range(4):
        await accept()
    now = "extract(epoch from clock_timestamp())" if "Postgres" in type(database).__name__ else "strftime('%s', 'now')"
    ago = text(f"UPDATE tasks SET created_at = {now} - 99.0")  # noqa: S608 -- two words of ours
    await database.write(lambda connection: connection.execute(ago))

    with pytest.raises(QuotaExceeded) as refusal:
        await accept()

    assert refusal.value.retry_after_s == 25


async def test_a_pace_is_kept_by_the_databases_clock(
    database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """Three a minute are three at once; the fourth is told when, and is let in once that time has passed."""
    await directory.change(Tenant(id="alice", requests_per_minute=3))
    for _ in range(3):
        await accept()
    with pytest.raises(QuotaExceeded, match="more than 3 requests in a minute") as refusal:
        await accept()
    wait_s = refusal.value.retry_after_s
    assert wait_s == 20

    # As good as waiting: the pace is a moment on the database's clock, moved back by as much.
    moved = text(f"UPDATE tenants SET paced_until_s = paced_until_s - {wait_s}")  # noqa: S608 -- a number of ours
    await database.write(lambda connection: connection.execute(moved))

    await accept()
    with pytest.raises(QuotaExceeded):
        await accept()


async def test_what_is_refused_uses_up_no_pace(directory: TenantDirectory, accept: Accept) -> None:
    """A caller who asks for what it may not have is not slower for it afterwards."""
    await directory.change(Tenant(id="alice", requests_per_minute=2, budget=10))
    await accept(price=10)
    for _ in range(5):
        with pytest.raises(BudgetExhausted):
            await accept(price=1)

    await accept(price=0)


async def test_racing_accepts_never_overspend(
    directory: TenantDirectory, open_store: OpenStore, accept: Accept
) -> None:
    """Of sixty submissions that several processes take at once, exactly those are let in that the budget pays for."""
    await directory.change(Tenant(id="alice", budget=250))
    stores = [await open_store() for _ in range(3)]

    ends = await asyncio.gather(
        *(accept(to=stores[number % 3], price=10) for number in range(60)), return_exceptions=True
    )

    assert sum(isinstance(end, Task) for end in ends) == 25
    assert sum(isinstance(end, BudgetExhausted) for end in ends) == 35
    tenant = await find(directory)
    assert (tenant.held, tenant.left) == (250, 0)


@pytest.mark.parametrize(
    ("limit", "let_in"), [({"max_queued": 7}, 7), ({"max_queued_units": 7.5}, 3), ({"requests_per_minute": 5}, 5)]
)
async def test_racing_accepts_pass_no_cap(
    directory: TenantDirectory, open_store: OpenStore, accept: Accept, limit: dict[str, Any], let_in: int
) -> None:
    """Submissions that arrive together in several processes are judged one after another."""
    await directory.change(Tenant(id="alice", **limit))
    stores = [await open_store() for _ in range(3)]

    ends = await asyncio.gather(
        *(accept(to=stores[number % 3], work_units=2.5) for number in range(24)), return_exceptions=True
    )

    assert sum(isinstance(end, Task) for end in ends) == let_in
    assert sum(isinstance(end, QuotaExceeded) for end in ends) == 24 - let_in


async def test_the_same_call_again_is_the_same_task(
    database: Database, store: TaskStore, directory: TenantDirectory, accept: Accept
) -> None:
    """A call that comes again under its key is answered with its task as that is now, and costs nothing more."""
    await directory.change(Tenant(id="alice", max_queued=1, budget=60, requests_per_minute=1))
    first = await accept(price=60, once=ONCE)
    before = await all_rows(database)

    again = await accept(price=60, once=ONCE)

    assert again == first
    assert await all_rows(database) == before
    await succeed(store, await run_one(store))
    ended = await accept(price=60, once=ONCE)
    assert (ended.id, ended.state) == (first.id, TaskState.SUCCEEDED)


async def test_another_call_under_a_used_key_is_refused(database: Database, accept: Accept) -> None:
    """A key stands for one call; another call under it is a mistake of the caller and makes nothing."""
    await accept(once=ONCE)
    before = await all_rows(database)

    with pytest.raises(KeyReused):
        await accept(once=replace(ONCE, fingerprint="of another body"))

    assert await all_rows(database) == before


async def test_keys_belong_to_their_tenant(accept: Accept) -> None:
    """Two tenants may use the same key, and learn nothing of each other by it."""
    hers = await accept(once=ONCE)

    his = await accept(tenant_id="bob", once=replace(ONCE, fingerprint="of his body"))

    assert hers.id != his.id
    assert (await accept(once=ONCE)).id == hers.id


async def test_a_refused_call_does_not_use_up_its_key(directory: TenantDirectory, accept: Accept) -> None:
    """A call that was refused may come again under the same key, corrected or not."""
    await directory.change(Tenant(id="alice", budget=5))
    with pytest.raises(BudgetExhausted):
        await accept(price=10, once=ONCE)

    task = await accept(price=5, once=replace(ONCE, fingerprint="of a cheaper body"))

    assert task.price == 5


async def test_racing_copies_of_a_call_make_one_task(
    database: Database, directory: TenantDirectory, open_store: OpenStore, accept: Accept
) -> None:
    """However many copies of a call several processes take at once, all are answered with one task."""
    stores = [await open_store() for _ in range(3)]
    keys = [OnceKey(key=f"order {number}", fingerprint="f") for number in range(5)]

    tasks = await asyncio.gather(
        *(accept(to=stores[number % 3], price=10, once=keys[number % 5]) for number in range(30))
    )

    assert len({task.id for task in tasks}) == 5
    assert len((await all_rows(database))["tasks"]) == 5
    assert (await find(directory)).held == 50


async def test_a_key_is_forgotten_with_its_time(database: Database, store: TaskStore, accept: Accept) -> None:
    """After a day a key may be used for another call; its task stays as it is."""
    first = await accept(once=ONCE)
    await accept(once=OnceKey(key="of today", fingerprint="f"))
    aged = text(f"UPDATE idempotency_keys SET created_at = created_at - {KEEP_KEYS_S} - 1e9 WHERE key = 'order 7'")  # noqa: S608 -- a number of ours
    await database.write(lambda connection: connection.execute(aged))
    fresh = text("UPDATE idempotency_keys SET created_at = 4e9 WHERE key = 'of today'")
    await database.write(lambda connection: connection.execute(fresh))

    await store.forget(keep_s=1e9)

    assert (await accept(once=replace(ONCE, fingerprint="of another body"))).id != first.id
    assert await store.read(first.id, tenant_id="alice") is not None
    with pytest.raises(KeyReused):
        await accept(once=OnceKey(key="of today", fingerprint="of another body"))


async def test_a_key_goes_with_its_task(database: Database, store: TaskStore, accept: Accept) -> None:
    """When a task is forgotten its key is too, and may be used again at once."""
    first = await accept(once=ONCE)
    await succeed(store, await run_one(store))
    await store.forget(keep_s=-1)

    again = await accept(once=ONCE)

    assert again.id != first.id
    assert [count for [count] in await database.rows(select(func.count()).select_from(text("idempotency_keys")))] == [1]
