"""The housekeeper on a real store and a real folder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from deployments.database.database import Database
from deployments.delivery.files import FilesSink
from deployments.delivery.kept_space import KeptSpace
from deployments.delivery.sink import Sink
from deployments.erasing import Eraser
from deployments.errors import FaultKind, Unavailable
from deployments.housekeeper import Housekeeper
from deployments.tasks.contents import ContentStore
from deployments.tasks.store import Forgotten, Rescued, TaskStore
from deployments.tasks.task import Task, TaskState
from deployments.tasks.views import TaskViews
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import RESCUED
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
CarryOut = Callable[[], Awaitable[Task]]
Submit = Callable[..., Awaitable[Task]]
Until = Callable[..., Awaitable[Task]]
#: A file whose time was over in 1970.
EXPIRED = f"old-1-{'0' * 32}.jpg"
#: How long ended tasks are kept here.
KEEP_S = 3600.0


class StumblingStore(TaskStore):
    """A store that is away the first time."""

    rescues = 0

    async def rescue(self, *, max_attempts: int = 3) -> Rescued:
        """Fail once, then rescue."""
        self.rescues += 1
        if self.rescues == 1:
            raise Unavailable
        return await super().rescue(max_attempts=max_attempts)


@pytest.fixture
def eraser(database: Database, sinks: Mapping[str, Sink]) -> Eraser:
    """Return an eraser."""
    return Eraser(ContentStore(database), sinks, keep_s=KEEP_S)


@pytest.fixture
def make_housekeeper(database: Database, files: FilesSink, eraser: Eraser) -> Callable[[TaskStore], Housekeeper]:
    """Return a maker of housekeepers, each of a store of its own."""
    space = KeptSpace(database)
    return lambda store: Housekeeper(store=store, files=files, space=space, eraser=eraser, keep_s=KEEP_S)


@pytest.fixture
def housekeeper(make_housekeeper: Callable[[TaskStore], Housekeeper], store: TaskStore) -> Housekeeper:
    """Return a housekeeper."""
    return make_housekeeper(store)


@pytest.fixture
async def stumbling(database: Database) -> StumblingStore:
    """Return a store that stumbles, on the same database."""
    return StumblingStore(database)


async def lose(store: TaskStore) -> None:
    """Claim everything as a replica that dies at once: the leases are over when they begin."""
    assert await store.claim(models=["uno"], limit=100, replica_id="dead", lease_s=-1)


async def test_a_tidy_house_is_left_alone(
    housekeeper: Housekeeper, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Queued tasks, living leases and the folder that is not there yet are none of its business."""
    await store.accept(make_task(), make_request())
    await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    await store.accept(make_task(), make_request())

    rescued, swept = await housekeeper.rescue_once(), await housekeeper.sweep_once()

    assert rescued == Rescued(requeued=0, quarantined=0)
    assert swept == 0


async def test_what_nobody_needs_is_forgotten(
    housekeeper: Housekeeper, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """The wish of a cancelled task is deleted by the next round; the task itself can be read until its time is over."""
    task = make_task()
    await store.accept(task, make_request())
    await store.cancel(task.id, tenant_id=task.tenant_id)

    forgotten = await housekeeper.forget_once()

    assert forgotten == Forgotten(tasks=0, requests=1)
    assert await store.read(task.id, tenant_id=task.tenant_id) is not None


async def test_a_lost_task_is_queued_again(
    housekeeper: Housekeeper, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A task whose lease has ended waits for another replica after one round."""
    task = make_task()
    await store.accept(task, make_request())
    await lose(store)

    rescued = await housekeeper.rescue_once()

    found = await store.read(task.id, tenant_id=task.tenant_id)
    assert rescued == Rescued(requeued=1, quarantined=0)
    assert found is not None
    assert (found.state, found.attempt) == (TaskState.QUEUED, 1)


async def test_a_task_that_kills_replicas_is_given_up(
    housekeeper: Housekeeper, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """The third lost attempt is the last: the task fails, and says why."""
    task = make_task()
    await store.accept(task, make_request())

    rounds = []
    for _ in range(3):
        await lose(store)
        rounds.append(await housekeeper.rescue_once())

    found = await store.read(task.id, tenant_id=task.tenant_id)
    assert [(rescued.requeued, rescued.quarantined) for rescued in rounds] == [(1, 0), (1, 0), (0, 1)]
    assert found is not None
    assert found.fault is not None
    assert (found.state, found.fault.kind) == (TaskState.FAILED, FaultKind.QUARANTINED)


async def test_rescues_are_counted(
    housekeeper: Housekeeper, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Every task that is queued again adds one to the moves of its kind."""
    before = value_of(RESCUED, move="requeued")
    for _ in range(2):
        await store.accept(make_task(), make_request())
    await lose(store)

    await housekeeper.rescue_once()

    assert value_of(RESCUED, move="requeued") == before + 2


async def test_pictures_end(housekeeper: Housekeeper, tmp_path: Path) -> None:
    """A file whose time is over is deleted; what is no picture of ours stays."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    (folder / EXPIRED).touch()
    (folder / "notes.txt").touch()

    swept = await housekeeper.sweep_once()

    assert swept == 1
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


async def test_a_bad_round_does_not_end_the_housekeeping(
    make_housekeeper: Callable[[TaskStore], Housekeeper],
    store: TaskStore,
    stumbling: StumblingStore,
    submit: Submit,
    until: Until,
) -> None:
    """After a round that failed comes another, until the housekeeper is told to stop."""
    stopping = asyncio.Event()
    task = await submit()
    await lose(store)
    running = asyncio.create_task(make_housekeeper(stumbling).run(stopping))

    await until(task, TaskState.QUEUED)

    stopping.set()
    await asyncio.wait_for(running, 20)
    assert stumbling.rescues >= 2


async def test_a_deleted_task_is_erased(
    housekeeper: Housekeeper, database: Database, submit: Submit, carry_out: CarryOut, tmp_path: Path
) -> None:
    """What its tenant has deleted is gone from the disk after one round, and nothing else is."""
    deleted, kept = await submit(sink="files"), await submit(sink="files")
    await carry_out()
    await carry_out()
    await TaskViews(database).delete([deleted.id], dialect=deleted.dialect, tenant_id=deleted.tenant_id)

    erased = await housekeeper.erase_once()

    assert erased == 1
    [left] = (tmp_path / "outputs").iterdir()
    assert left.name.startswith(kept.id)
