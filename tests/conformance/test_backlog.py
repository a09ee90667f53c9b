"""What says how many replicas are needed, read the same on every database, and the policy that goes by it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from postgresql_server import PostgresServer
from sqlalchemy import make_url
from structlog.testing import capture_logs

from deployments.autoscaling import BacklogPolicy, Lookout
from deployments.database.database import Database
from deployments.tasks.backlog import Run, read_backlog
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Success, Task
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
#: Far longer than anything here takes.
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Present:
    """What Serve tells a policy."""

    #: Replicas that there are to be at present.
    target_num_replicas: int
    #: Replicas that are up.
    current_num_replicas: int = 0


async def test_a_backlog_is_that_of_its_models(
    store: TaskStore, database: Database, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """What waits, runs and ended well of the named models counts, and nothing of others."""
    request = make_request()
    for _ in range(4):
        await store.accept(make_task(work_units=2.5), request)
    await store.accept(make_task(model="uso"), make_request(model="uso"))
    ended, _ = await store.claim(models=["uno"], limit=2, replica_id="r1", lease_s=60)
    success = Success(outputs=(), inference_ms=9000, device_s=1.25)
    assert await store.succeed(ended.task.id, fence=ended.task.fence, success=success)

    uno, both = await read_backlog(database, ["uno"]), await read_backlog(database, ["uno", "uso"])

    assert (uno.queued, uno.running, both.queued) == (2, 1, 3)
    assert uno.queued_units == 5.0
    assert uno.runs == (Run(units=2.5, device_s=1.25),)


async def test_what_waits_behind_a_cap_is_no_work(
    store: TaskStore,
    directory: TenantDirectory,
    database: Database,
    make_task: MakeTask,
    make_request: MakeRequest,
) -> None:
    """Of a tenant's waiting tasks so many count as it may still run, whatever models its running ones are of."""
    await directory.change(Tenant(id="alice", max_running=3))
    await store.accept(make_task(model="uso"), make_request(model="uso"))
    await store.claim(models=["uso"], limit=1, replica_id="r1", lease_s=60)
    for tenant_id, number in (("alice", 8), ("bob", 2)):
        for _ in range(number):
            await store.accept(make_task(tenant_id=tenant_id, work_units=2.0), make_request())

    room_for_two = await read_backlog(database, ["uno"])
    await store.claim(models=["uno"], limit=4, replica_id="r1", lease_s=60)
    room_for_none = await read_backlog(database, ["uno"])

    assert (room_for_two.queued, room_for_two.queued_units, room_for_two.running) == (4, 8.0, 0)
    assert (room_for_none.queued, room_for_none.queued_units, room_for_none.running) == (0, 0.0, 4)


async def test_a_model_is_not_starved_by_the_cap_of_another(
    store: TaskStore,
    directory: TenantDirectory,
    database: Database,
    make_task: MakeTask,
    make_request: MakeRequest,
) -> None:
    """Where one model fills a tenant's cap for as long as it pleases, another model still has one task to do."""
    await directory.change(Tenant(id="alice", max_running=2))
    for model, number in (("uno", 5), ("uso", 3)):
        for _ in range(number):
            await store.accept(make_task(model=model, work_units=2.0), make_request(model=model))
    await store.claim(models=["uno"], limit=2, replica_id="r1", lease_s=60)

    uno, uso = await read_backlog(database, ["uno"]), await read_backlog(database, ["uso"])

    assert (uno.queued, uno.queued_units, uno.running) == (0, 0.0, 2)
    assert (uso.queued, uso.queued_units, uso.running) == (1, 2.0, 0)


async def test_nothing_is_no_backlog(store: TaskStore, database: Database) -> None:
    """An empty store has a backlog of nothing."""
    backlog = await read_backlog(database, ["uno"])

    assert store
    assert (backlog.queued, backlog.running, backlog.queued_units, backlog.runs) == (0, 0, 0.0, ())


@pytest.fixture
def lookout(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookout]:
    """Return what looks at the database all the time."""
    monkeypatch.setenv("UXO_DATABASE_URL", database_url)
    lookout = Lookout(every_s=0.01)
    yield lookout
    lookout.close()


async def look(lookout: Lookout) -> None:
    """Wait for a look that has begun after this call."""
    for _ in range(2):
        lookout.has_looked.clear()
        assert await asyncio.to_thread(lookout.has_looked.wait, PATIENCE_S)


def looking() -> list[threading.Thread]:
    """Return the threads that look at backlogs."""
    return [thread for thread in threading.enumerate() if thread.name == "backlog"]


@pytest.fixture
async def policy(store: TaskStore, lookout: Lookout, make_task: MakeTask, make_request: MakeRequest) -> BacklogPolicy:
    """Return a policy that has seen 50 units wait, of which a replica does 20 in time."""
    await store.accept(make_task(work_units=50.0), make_request())
    policy = BacklogPolicy(models=["uno"], lookout=lookout, wait_s=10.0, units_per_s=2.0)
    policy(Present(0))
    await look(lookout)
    return policy


def test_a_policy_goes_by_the_backlog(policy: BacklogPolicy) -> None:
    """With no replica and work that waits, the policy wants as many as do it in time."""
    assert policy(Present(0)) == (3, {})
    assert repr(policy) == "<BacklogPolicy [uno | wants 3]>"


def test_a_policy_says_why(policy: BacklogPolicy) -> None:
    """How many replicas are wanted is told once, with what waits and how fast it goes, until it is another number."""
    with capture_logs() as told:
        for up in (0, 1, 3):
            policy(Present(3, up))

    assert [event for event in told if event["event"] == "replicas_wanted"] == [
        {
            "event": "replicas_wanted",
            "log_level": "info",
            "models": ["uno"],
            "replicas": 3,
            "needed_now": 3,
            "up": 0,
            "queued": 1,
            "queued_units": 50.0,
            "running": 0,
            "units_per_s": 2.0,
        }
    ]


async def test_a_policy_that_has_just_started_takes_nothing_away(store: TaskStore, lookout: Lookout) -> None:
    """What there was when the policy began counts as needed for the calm time."""
    policy = BacklogPolicy(models=["uno"], lookout=lookout, calm_s=3600.0)

    policy(Present(5))
    await look(lookout)

    assert store
    assert policy(Present(5)) == (5, {})


async def test_a_policy_changes_nothing_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a backlog there are to be as many replicas as there are."""
    monkeypatch.setenv("UXO_DATABASE_URL", "postgresql+asyncpg://127.0.0.1:1/away")
    lookout = Lookout()
    policy = BacklogPolicy(models=["uno"], lookout=lookout)

    assert policy(Present(3)) == (3, {})
    assert repr(policy) == "<BacklogPolicy [uno | wants nothing yet]>"
    lookout.close()


@pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning")  # Ray's own schema does
def test_serve_can_hand_the_policy_to_its_controller() -> None:
    """Serve sends the policy's module by value; what arrives asks the one lookout of the process it arrives in."""
    from ray.serve.config import AutoscalingPolicy  # noqa: PLC0415 -- takes seconds

    sent = AutoscalingPolicy(policy_function="deployments.autoscaling:BacklogPolicy").get_policy()

    assert repr(sent(models=["uno"])) == "<BacklogPolicy [uno | wants nothing yet]>"


async def test_policies_share_a_thread(store: TaskStore, lookout: Lookout) -> None:
    """However many policies there were, one after another and for several deployments, one thread looks for all."""
    for models in (["uno"], ["uso"], ["uno"]):
        BacklogPolicy(models=models, lookout=lookout)(Present(1))
    await look(lookout)

    assert store
    assert len(looking()) == 1
    assert repr(lookout) == "<Lookout [uno; uso]>"


async def test_nobody_looks_for_policies_that_are_gone(
    store: TaskStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread ends when nobody asks any more, and whoever asks then is looked for again."""
    monkeypatch.setenv("UXO_DATABASE_URL", database_url)
    forgetful = Lookout(every_s=0.01, unasked_s=0.0)
    assert forgetful.ask(("uno",)) is None
    for thread in looking():
        await asyncio.to_thread(thread.join, PATIENCE_S)

    assert store
    assert (looking(), repr(forgetful)) == ([], "<Lookout [idle]>")
    assert forgetful.ask(("uno",)) is None
    assert repr(forgetful) == "<Lookout [uno]>"
    forgetful.close()


async def test_looks_keep_their_connection(
    postgresql: PostgresServer, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Look after look goes over the same connection."""
    monkeypatch.setenv("UXO_DATABASE_URL", postgresql_url)
    lookout = Lookout(every_s=0.01)
    database = make_url(postgresql_url).database
    assert database is not None
    ask = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    lookout.ask(("uno",))
    await look(lookout)

    before = postgresql.run_sql(ask, database=database)
    await look(lookout)
    after = postgresql.run_sql(ask, database=database)

    assert before
    assert before == after
    lookout.close()
