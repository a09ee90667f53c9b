"""What an operator sees and does, the same on every database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, update

from deployments.database.database import Database
from deployments.database.schema import charges, database_now, task_requests, tasks
from deployments.errors import FaultKind, QuotaExceeded
from deployments.tasks.overview import PURGE_AT_ONCE, CannotPurge, CannotReplay, Load, NoSuchTask, Overview, Replayed
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Fault, Success, Task, TaskState
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from models.request import GenerationRequest, Reference, Role

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]

FAULT = Fault(kind=FaultKind.ENGINE_FAILED, message="The model could not make this picture.")


class House:
    """A store with the tasks a test wants, in the states it wants."""

    def __init__(self, store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> None:
        self.store = store
        self.make_task = make_task
        self.make_request = make_request

    async def queued(self, *, request: GenerationRequest | None = None, **fields: Any) -> Task:
        """Accept a task."""
        return await self.store.accept(self.make_task(**fields), request or self.make_request())

    async def running(self, *, lease_s: float = 60, **fields: Any) -> Task:
        """Accept a task and claim it; nothing else of its model may wait."""
        task = await self.queued(**fields)
        [claim] = await self.store.claim(models=[task.model], limit=1, replica_id="r1", lease_s=lease_s)
        assert claim.task.id == task.id
        return claim.task

    async def succeeded(self, **fields: Any) -> Task:
        """Accept a task and end it well."""
        task = await self.running(**fields)
        assert await self.store.succeed(task.id, fence=task.fence, success=Success(outputs=(), inference_ms=5))
        return task

    async def failed(self, **fields: Any) -> Task:
        """Accept a task and end it badly."""
        task = await self.running(**fields)
        assert await self.store.fail(task.id, fence=task.fence, fault=FAULT)
        return task

    async def quarantined(self, **fields: Any) -> Task:
        """Accept a task and give it up."""
        task = await self.running(lease_s=-1, **fields)
        await self.store.rescue(max_attempts=1)
        return task

    async def replays_of(self, overview: Overview, task: Task) -> tuple[str, ...]:
        """Tell which tasks repeat one."""
        return (await overview.show(task.id)).replays


@pytest.fixture
def house(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> House:
    """Return a store that is easily filled."""
    return House(store, make_task, make_request)


@pytest.fixture
def overview(database: Database) -> Overview:
    """Return an operator's view of the same database."""
    return Overview(database)


async def test_a_list_is_newest_first_and_bounded(house: House, overview: Overview) -> None:
    """Of three tasks, the two accepted last are shown, whoever's they are."""
    _, second, third = await house.queued(), await house.queued(tenant_id="bob"), await house.queued()

    lines = await overview.list(limit=2)

    assert [line.id for line in lines] == [third.id, second.id]
    assert lines[1].tenant_id == "bob"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"tenant_id": "bob"}, ["bob's"]),
        ({"state": TaskState.QUEUED}, ["bob's", "queued"]),
        ({"state": TaskState.FAILED}, ["failed"]),
        ({"model": "uso"}, ["uso"]),
        ({"model": "uno", "tenant_id": "alice", "state": TaskState.QUEUED}, ["queued"]),
        ({"tenant_id": "nobody"}, []),
    ],
)
async def test_a_list_is_narrowed(
    house: House, overview: Overview, wanted: dict[str, Any], expected: list[str]
) -> None:
    """Tenant, state and model narrow a list, alone and together."""
    uso = await house.succeeded(model="uso")
    failed, queued, bobs = await house.failed(), await house.queued(), await house.queued(tenant_id="bob")
    names = {uso.id: "uso", failed.id: "failed", queued.id: "queued", bobs.id: "bob's"}

    lines = await overview.list(**wanted)

    assert [names[line.id] for line in lines] == expected


async def test_a_task_is_shown_whole(house: House, overview: Overview) -> None:
    """The page of a task has its life, who had it, and what it has cost."""
    task = await house.succeeded(price=70_000)

    record = await overview.show(task.id)

    assert (record.task.state, record.task.inference_ms, record.charged) == (TaskState.SUCCEEDED, 5, 70_000)
    assert (record.claimed_by, record.lease_expires_at, record.replays) == ("r1", None, ())
    assert record.task.finished_at is not None
    assert record.request == house.make_request()


async def test_a_running_task_shows_its_lease(house: House, overview: Overview) -> None:
    """Until when its replica may be silent is told on the clock that judges it."""
    task = await house.running(lease_s=60)

    record = await overview.show(task.id)

    assert record.lease_expires_at is not None
    assert 0 < (record.lease_expires_at - record.seen_at).total_seconds() <= 60


async def test_no_content_and_no_signature_is_shown(house: House, overview: Overview) -> None:
    """Of pictures that were sent, kind and size are shown; of links, nothing that opens them."""
    sources = [f"data:image/png;base64,{'A' * 1_600_000}", "https://me:word@example.org/a/b.png?sig=secret"]
    references = tuple(Reference(role=Role.SUBJECT, source=source) for source in sources)
    task = await house.queued(request=house.make_request(references=references))

    record = await overview.show(task.id)

    assert record.request is not None
    shown = [reference.source for reference in record.request.references]
    assert shown == ["data:image/png… 1.2 MB", "https://example.org/a/b.png…"]


async def test_a_request_that_is_gone_is_shown_as_none(house: House, overview: Overview) -> None:
    """A task whose request was forgotten is shown without it."""
    task = await house.succeeded()
    await house.store.forget(keep_s=3600)

    assert (await overview.show(task.id)).request is None


@pytest.mark.parametrize("task_id", ["", "f" * 32, "\0", "\ud800", "F" * 32])
async def test_an_unknown_task_is_said_to_be_unknown(overview: Overview, task_id: str) -> None:
    """An id that no task has, however odd, is answered as such by everything."""
    with pytest.raises(NoSuchTask):
        await overview.show(task_id)
    with pytest.raises(NoSuchTask):
        await overview.cancel(task_id)
    with pytest.raises(NoSuchTask):
        await overview.replay(task_id)


async def test_depth_counts_by_model_and_tenant(house: House, overview: Overview) -> None:
    """What waits and runs is counted for each tenant of each model, and in all; what has ended is not."""
    await house.failed()
    await house.running(work_units=5)
    await house.queued(work_units=1.5)
    await house.queued(work_units=2)
    await house.queued(model="uso", tenant_id="bob", work_units=10)

    depth = await overview.depth()

    counted = [(one.model, one.tenant_id, one.load.queued, one.load.running) for one in depth.queues]
    assert counted == [("uno", "alice", 2, 1), ("uso", "bob", 1, 0)]
    assert [one.load.queued_units for one in depth.queues] == [3.5, 10]
    assert (depth.total.queued, depth.total.running, depth.total.queued_units) == (3, 1, 13.5)


async def test_the_oldest_is_told_by_the_databases_clock(house: House, overview: Overview, database: Database) -> None:
    """The age of the oldest waiting task is counted from its accept; one from the future is 0 s old."""
    [[now_s]] = await database.rows(select(database_now()))
    await house.queued(created_at=datetime.fromtimestamp(now_s - 100, UTC))
    await house.queued(created_at=datetime.fromtimestamp(now_s - 50, UTC))
    await house.queued(model="uso", created_at=datetime(2100, 1, 1, tzinfo=UTC))

    depth = await overview.depth()

    uno, uso = [one.load.oldest_s for one in depth.queues]
    assert uso == 0
    assert uno is not None
    assert 100 <= uno < 130
    assert depth.total.oldest_s == uno


async def test_nothing_has_no_depth(overview: Overview) -> None:
    """An empty database has no queues, and no oldest."""
    depth = await overview.depth()

    assert depth.queues == ()
    assert depth.total == Load(queued=0, running=0, queued_units=0, oldest_s=None)


async def test_an_operator_cancels_anybodys_task(house: House, overview: Overview) -> None:
    """A running task of any tenant is ended; one that has ended already is left."""
    task = await house.running(tenant_id="bob")

    assert await overview.cancel(task.id)
    assert not await overview.cancel(task.id)

    assert (await overview.show(task.id)).task.state is TaskState.CANCELLED


async def test_a_replay_is_a_new_task_for_the_same(house: House, overview: Overview) -> None:
    """A failed task's request waits again under a new id, for the same tenant at the same price."""
    request = house.make_request(prompt="once more")
    task = await house.failed(request=request, notes={"webhook": "w"}, price=9, work_units=3, steps_total=4)

    new_id = await overview.replay(task.id)

    [claim] = await house.store.claim(models=["uno"], limit=9, replica_id="r2", lease_s=60)
    assert (claim.task.id, claim.task.replay_of, claim.request) == (new_id, task.id, request)
    same = ("tenant_id", "model", "dialect", "notes", "sinks", "price", "work_units", "steps_total")
    assert [getattr(claim.task, name) for name in same] == [getattr(task, name) for name in same]
    assert await house.replays_of(overview, task) == (new_id,)


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
async def test_only_what_failed_is_replayed(house: House, overview: Overview, state: str) -> None:
    """A task that has not failed is refused, with the state that it is in."""
    task = await getattr(house, state)()

    with pytest.raises(CannotReplay, match=state):
        await overview.replay(task.id)


@pytest.mark.parametrize("text", [None, '{"prompt": "of another version"}'])
async def test_without_its_request_nothing_is_replayed(
    house: House, overview: Overview, database: Database, text: str | None
) -> None:
    """A task whose request is gone, or cannot be read, is refused."""
    task = await house.failed()
    here = task_requests.c.task_id == task.id

    def spoil(connection: Connection) -> None:
        statement = delete(task_requests) if text is None else update(task_requests).values(request=text)
        connection.execute(statement.where(here))

    await database.write(spoil)

    with pytest.raises(CannotReplay, match="its request is"):
        await overview.replay(task.id)


async def test_a_tenants_limits_hold_for_replays(house: House, overview: Overview, directory: TenantDirectory) -> None:
    """A tenant that has as much waiting as it may gets no replay."""
    task = await house.failed()
    await directory.change(Tenant(id="alice", max_queued=0))

    with pytest.raises(QuotaExceeded):
        await overview.replay(task.id)


async def test_a_replay_needs_its_tenant(house: House, overview: Overview, directory: TenantDirectory) -> None:
    """What a tenant that is gone has asked for is not made again."""
    task = await house.failed()
    await directory.delete("alice")

    with pytest.raises(CannotReplay, match="its tenant alice is gone"):
        await overview.replay(task.id)


async def test_all_quarantined_tasks_are_replayed_once(house: House, overview: Overview) -> None:
    """In bulk, every quarantined task is replayed unless it was before; other failures stay."""
    first, second, failed = await house.quarantined(), await house.quarantined(tenant_id="bob"), await house.failed()
    await overview.replay(first.id)

    assert await overview.replay_quarantined() == Replayed(accepted=1, refused={})
    assert await overview.replay_quarantined() == Replayed(accepted=0, refused={})

    assert [len(await house.replays_of(overview, task)) for task in (first, second, failed)] == [1, 1, 0]


async def test_two_operators_replay_each_task_once(house: House, overview: Overview) -> None:
    """Two replays in bulk at the same time make one new task of each."""
    lost = [await house.quarantined() for _ in range(5)]

    results = await asyncio.gather(*(overview.replay_quarantined() for _ in range(4)))

    assert sum(result.accepted for result in results) == 5
    assert [len(await house.replays_of(overview, task)) for task in lost] == [1] * 5


async def test_a_replay_of_many_tells_why_some_are_refused(
    house: House, overview: Overview, directory: TenantDirectory
) -> None:
    """One tenant's limit refuses its own tasks, by reason, and nobody else's; a tenant can be named."""
    for _ in range(3):
        await house.quarantined()
    await house.quarantined(tenant_id="bob")
    await directory.change(Tenant(id="alice", max_queued=1))

    alices = await overview.replay_quarantined(tenant_id="alice")
    others = await overview.replay_quarantined()

    assert alices == Replayed(accepted=1, refused={"1 tasks are waiting already": 2})
    assert others == Replayed(accepted=1, refused={"1 tasks are waiting already": 2})


async def test_a_purge_leaves_what_lives_and_what_was_charged(
    house: House, overview: Overview, database: Database
) -> None:
    """Ended tasks go, in whatever state; queued and running ones and every charge stay."""
    done = await house.succeeded(price=5)
    await house.failed()
    running, queued = await house.running(), await house.queued()

    assert await overview.purge(older_than_s=0) == 2

    assert {line.id for line in await overview.list()} == {running.id, queued.id}
    assert [row.task_id for row in await database.rows(select(charges))] == [done.id]


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"older_than_s": 3600}, ["alice's", "bob's", "failed"]),
        ({"older_than_s": 0, "tenant_id": "bob"}, ["alice's", "failed"]),
        ({"older_than_s": 0, "state": TaskState.FAILED}, ["alice's", "bob's"]),
        ({"older_than_s": 0, "state": TaskState.FAILED, "tenant_id": "bob"}, ["alice's", "bob's", "failed"]),
    ],
)
async def test_a_purge_is_narrowed(house: House, overview: Overview, wanted: dict[str, Any], left: list[str]) -> None:
    """Age, tenant and state narrow a purge."""
    alices, bobs, failed = await house.succeeded(), await house.succeeded(tenant_id="bob"), await house.failed()
    names = {alices.id: "alice's", bobs.id: "bob's", failed.id: "failed"}

    await overview.purge(**wanted)

    assert sorted(names[line.id] for line in await overview.list()) == left


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.RUNNING])
async def test_live_tasks_cannot_be_purged(overview: Overview, state: TaskState) -> None:
    """To ask for the purge of live tasks is a mistake, and said to be one."""
    with pytest.raises(CannotPurge, match=f"a {state} task has not ended"):
        await overview.purge(older_than_s=0, state=state)


async def test_a_replay_stays_as_long_as_its_original(house: House, overview: Overview) -> None:
    """Purging what succeeded makes no quarantined task look as if it had never been replayed; in the end both go."""
    await house.quarantined()
    await overview.replay_quarantined()
    [claim] = await house.store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    await house.store.succeed(claim.task.id, fence=claim.task.fence, success=Success(outputs=(), inference_ms=5))

    assert await overview.purge(older_than_s=0, state=TaskState.SUCCEEDED) == 0
    assert await overview.replay_quarantined() == Replayed(accepted=0, refused={})
    assert await overview.purge(older_than_s=0) == 2


async def test_a_purge_goes_on_after_a_full_batch(house: House, overview: Overview, database: Database) -> None:
    """More tasks than one transaction deletes are deleted too."""
    number = PURGE_AT_ONCE + 1
    task = await house.succeeded()
    [row] = await database.rows(select(tasks).where(tasks.c.id == task.id))
    copies = [dict(row._mapping) | {"id": f"{copy:032x}"} for copy in range(10_000, 10_000 + number)]
    await database.write(lambda connection: connection.execute(tasks.insert(), copies).rowcount)

    assert await overview.purge(older_than_s=0) == number + 1

    assert await overview.list() == []
