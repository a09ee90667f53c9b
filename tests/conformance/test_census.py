"""What is counted for the metrics: how much waits and runs, and what ends, the same on every database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from deployments.database.database import Database
from deployments.errors import FaultKind
from deployments.gauging import Gauging
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Fault, Success, Task, Webhook
from deployments.tasks.views import TaskViews
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import (
    QUEUE_AGE,
    QUEUE_LIMIT,
    QUEUE_TASKS,
    QUEUE_UNITS,
    RUNNING_TASKS,
    TASK_SECONDS,
    TASKS_ENDED,
    WEBHOOKS_WAITING,
    WORK_UNITS,
)
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from models.request import GenerationRequest

Accept = Callable[..., Awaitable[Task]]
End = Callable[[TaskStore, Task], Coroutine[Any, Any, object]]
HOOK = Webhook(url="https://hooks.example/", base_url="http://uxo.test")


@pytest.fixture
def accept(store: TaskStore, make_task: Callable[..., Task], make_request: Callable[..., GenerationRequest]) -> Accept:
    """Return what accepts a task; give it the fields that matter."""

    async def accept_one(**fields: Any) -> Task:
        return await store.accept(make_task(**fields), make_request())

    return accept_one


async def claim(store: TaskStore) -> Task:
    """Claim the next task."""
    [claimed] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
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


async def test_gauges_show_what_waits_and_runs(
    store: TaskStore, database: Database, directory: TenantDirectory, accept: Accept
) -> None:
    """Tasks count by model and by the weight of their tenants; a model of which nothing waits shows nothing.

    What the queue is held to is shown beside it.
    """
    await directory.create(Tenant(id="heavy", weight=2.0))
    for fields in ({}, {"work_units": 4.0}, {"tenant_id": "heavy", "work_units": 2.5}):
        await accept(**fields)
    await claim(store)

    await Gauging(database, models=["uno", "uso"], max_queued=7).look_once()

    shown = {name: value_of(QUEUE_TASKS, model="uno", tenant_class=name) for name in ("low", "usual", "high")}
    assert shown == {"low": 0, "usual": 1, "high": 1}
    assert (value_of(QUEUE_UNITS, model="uno"), value_of(RUNNING_TASKS, model="uno")) == (6.5, 1)
    assert value_of(QUEUE_AGE, model="uno", tenant_class="usual") > 0
    assert value_of(QUEUE_AGE, model="uno", tenant_class="low") == 0
    assert value_of(QUEUE_TASKS, model="uso", tenant_class="usual") == 0
    assert value_of(QUEUE_LIMIT) == 7


async def test_gauges_go_back_to_nothing(store: TaskStore, database: Database, accept: Accept) -> None:
    """What no longer waits is no longer shown, and a webhook that waits is."""
    gauging = Gauging(database, models=["uno"], max_queued=7)
    task = await accept(webhook=HOOK)
    await gauging.look_once()
    await cancel(store, task)

    await gauging.look_once()

    assert value_of(QUEUE_TASKS, model="uno", tenant_class="usual") == 0
    assert value_of(WEBHOOKS_WAITING) == 1


@pytest.mark.parametrize(("end", "outcome"), [(succeed, "succeeded"), (fail, "engine_failed"), (cancel, "cancelled")])
async def test_every_end_is_counted_once(store: TaskStore, accept: Accept, end: End, outcome: str) -> None:
    """An end counts under its model and what came of it; a second one that comes too late does not."""
    before = value_of(TASKS_ENDED, model="uno", outcome=outcome)
    await accept()
    task = await claim(store)

    await end(store, task)
    await end(store, task)

    assert value_of(TASKS_ENDED, model="uno", outcome=outcome) == before + 1


async def test_work_counts_when_it_is_done(store: TaskStore, accept: Accept) -> None:
    """A task that succeeds adds its work and its time; one that fails adds neither."""
    before = value_of(WORK_UNITS, model="uno"), value_of(TASK_SECONDS, "_count", model="uno")
    for end in (succeed, fail):
        await accept(work_units=2.5)
        await end(store, await claim(store))

    after = value_of(WORK_UNITS, model="uno"), value_of(TASK_SECONDS, "_count", model="uno")

    assert after == (before[0] + 2.5, before[1] + 1)


async def test_a_task_that_its_tenant_deletes_has_ended(database: Database, accept: Accept) -> None:
    """Deleting a task that waits counts as its cancellation."""
    before = value_of(TASKS_ENDED, model="uno", outcome="cancelled")
    task = await accept()

    await TaskViews(database).delete([task.id], dialect=task.dialect, tenant_id=task.tenant_id)

    assert value_of(TASKS_ENDED, model="uno", outcome="cancelled") == before + 1
