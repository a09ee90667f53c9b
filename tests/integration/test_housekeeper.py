"""The housekeeper on a real store and a real folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from deployments.delivery.files import FilesSink
from deployments.errors import FaultKind
from deployments.housekeeper import Housekeeper, Round
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task, TaskState
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
#: A file whose time was over in 1970.
EXPIRED = f"old-1-{'0' * 32}.jpg"


class StumblingFiles(FilesSink):
    """A folder that cannot be read the first time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ttl_s=60)
        self.sweeps = 0
        self.swept_again = asyncio.Event()

    async def sweep(self) -> int:
        """Fail once, then sweep."""
        self.sweeps += 1
        if self.sweeps == 1:
            raise OSError("the folder is away")
        swept = await super().sweep()
        self.swept_again.set()
        return swept


@pytest.fixture
def housekeeper(store: TaskStore, files: FilesSink) -> Housekeeper:
    """Return a housekeeper."""
    return Housekeeper(store=store, files=files)


async def lose(store: TaskStore) -> None:
    """Claim everything as a replica that dies at once: the leases are over when they begin."""
    assert await store.claim(models=["uno"], limit=100, replica_id="dead", lease_s=-1)


async def test_a_tidy_house_is_left_alone(
    housekeeper: Housekeeper, store: TaskStore, files: FilesSink, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Queued tasks, living leases and the folder that is not there yet are none of its business."""
    await store.insert(make_task(), make_request())
    await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    await store.insert(make_task(), make_request())

    done = await housekeeper.run_once()

    assert done == Round(requeued=0, quarantined=0, swept=0)
    assert await files.sweep() == 0


async def test_a_lost_task_is_queued_again(
    housekeeper: Housekeeper, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A task whose lease has ended waits for another replica after one round."""
    task = make_task()
    await store.insert(task, make_request())
    await lose(store)

    done = await housekeeper.run_once()

    found = await store.read(task.id, tenant_id=task.tenant_id)
    assert done == Round(requeued=1, quarantined=0, swept=0)
    assert found is not None
    assert (found.state, found.attempt) == (TaskState.QUEUED, 1)


async def test_a_task_that_kills_replicas_is_given_up(
    housekeeper: Housekeeper, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """The third lost attempt is the last: the task fails, and says why."""
    task = make_task()
    await store.insert(task, make_request())

    rounds = []
    for _ in range(3):
        await lose(store)
        rounds.append(await housekeeper.run_once())

    found = await store.read(task.id, tenant_id=task.tenant_id)
    assert [(done.requeued, done.quarantined) for done in rounds] == [(1, 0), (1, 0), (0, 1)]
    assert found is not None
    assert found.fault is not None
    assert (found.state, found.fault.kind) == (TaskState.FAILED, FaultKind.QUARANTINED)


async def test_pictures_end(housekeeper: Housekeeper, tmp_path: Path) -> None:
    """A file whose time is over is deleted; what is no picture of ours stays."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    (folder / EXPIRED).touch()
    (folder / "notes.txt").touch()

    done = await housekeeper.run_once()

    assert done == Round(requeued=0, quarantined=0, swept=1)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


async def test_a_bad_round_does_not_end_the_housekeeping(store: TaskStore, tmp_path: Path) -> None:
    """After a round that failed comes another, until the housekeeper is told to stop."""
    files = StumblingFiles(tmp_path)
    running = asyncio.create_task(Housekeeper(store=store, files=files).run())

    await asyncio.wait_for(files.swept_again.wait(), 20)

    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()
