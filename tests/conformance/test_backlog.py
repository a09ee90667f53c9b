"""What says how many replicas are needed, read the same on every database, and the policy that goes by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from deployments.autoscaling import BacklogPolicy
from deployments.database.database import Database
from deployments.tasks.backlog import read_backlog
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Success, Task
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]


@dataclass(frozen=True, slots=True)
class Present:
    """What Serve tells a policy."""

    #: Replicas that there are to be at present.
    target_num_replicas: int


async def test_a_backlog_is_that_of_its_models(
    store: TaskStore, database: Database, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """What waits, runs and ended well of the named models counts, and nothing of others."""
    request = make_request()
    for _ in range(4):
        await store.accept(make_task(work_units=2.5), request)
    await store.accept(make_task(model="uso"), make_request(model="uso"))
    ended, _ = await store.claim(models=["uno"], limit=2, replica_id="r1", lease_s=60)
    assert await store.succeed(ended.task.id, fence=ended.task.fence, success=Success(outputs=(), inference_ms=5))

    uno, both = await read_backlog(database, ["uno"]), await read_backlog(database, ["uno", "uso"])

    assert (uno.queued, uno.running, both.queued) == (2, 1, 3)
    assert uno.queued_units == 5.0
    assert [(run.replica, run.units) for run in uno.runs] == [("r1", 2.5)]
    assert uno.runs[0].started_s <= uno.runs[0].ended_s


async def test_nothing_is_no_backlog(store: TaskStore, database: Database) -> None:
    """An empty store has a backlog of nothing."""
    backlog = await read_backlog(database, ["uno"])

    assert store
    assert (backlog.queued, backlog.running, backlog.queued_units, backlog.runs) == (0, 0, 0.0, ())


async def test_a_policy_goes_by_the_backlog(
    store: TaskStore,
    database_url: str,
    make_task: MakeTask,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With no replica and work that waits, the policy wants as many as do it in time."""
    monkeypatch.setenv("UXO_DATABASE_URL", database_url)
    await store.accept(make_task(work_units=50.0), make_request())
    policy = BacklogPolicy(models=["uno"], wait_s=10.0, units_per_s=2.0)

    await asyncio.to_thread(policy.has_looked.wait, 30)

    assert policy(Present(0)) == (3, {})
    assert repr(policy) == "<BacklogPolicy [uno | wants 3]>"
    await asyncio.to_thread(policy.close)


async def test_a_policy_that_has_just_started_takes_nothing_away(
    store: TaskStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there was when the policy began counts as needed for the calm time."""
    monkeypatch.setenv("UXO_DATABASE_URL", database_url)
    policy = BacklogPolicy(models=["uno"], calm_s=3600.0)

    await asyncio.to_thread(policy.has_looked.wait, 30)

    assert store
    assert policy(Present(5)) == (5, {})
    await asyncio.to_thread(policy.close)


async def test_a_policy_changes_nothing_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a backlog there are to be as many replicas as there are."""
    monkeypatch.setenv("UXO_DATABASE_URL", "postgresql+asyncpg://127.0.0.1:1/away")
    policy = BacklogPolicy(models=["uno"])

    assert policy(Present(3)) == (3, {})
    assert repr(policy) == "<BacklogPolicy [uno | wants nothing yet]>"
    await asyncio.to_thread(policy.close)
