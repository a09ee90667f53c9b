"""The bound on all that waits, on a real store with a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deployments.errors import Overloaded, QuotaExceeded, Unavailable
from deployments.tasks.bound import BELIEVE_S, RETRY_AFTER_S, QueueBound
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]


class CountingStore(TaskStore):
    """A store that counts how often it is asked whether it is full."""

    asked = 0
    is_away = False

    async def has_queued(self, number: int) -> bool:
        """Count, then ask the database."""
        self.asked += 1
        if self.is_away:
            raise Unavailable
        return await super().has_queued(number)


class Clock:
    """Seconds that pass when a test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        """Read it."""
        return self.now_s


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return one kind of database: that every kind counts what waits is shown elsewhere."""
    return sqlite_url


@pytest.fixture
def counting(store: TaskStore) -> CountingStore:
    """Return a store without tasks."""
    return CountingStore(store._database)


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


async def fill(store: TaskStore, *tasks: Task, request: GenerationRequest) -> None:
    """Let tasks wait."""
    for task in tasks:
        await store.accept(task, request)


async def test_there_is_room_up_to_the_bound(
    counting: CountingStore, clock: Clock, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """With room for three, the third task is let in and the fourth is refused, with the time to come again."""
    bound = QueueBound(counting, max_queued=3, clock=clock)
    await fill(counting, make_task(), make_task(tenant_id="bob", model="uso"), request=make_request())
    await bound.check()

    await fill(counting, make_task(), request=make_request())
    clock.now_s += BELIEVE_S

    with pytest.raises(Overloaded) as refusal:
        await bound.check()
    assert refusal.value.retry_after_s == RETRY_AFTER_S
    assert not isinstance(refusal.value, QuotaExceeded)


async def test_what_runs_or_has_ended_does_not_wait(
    counting: CountingStore, clock: Clock, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A task makes room when it is claimed or cancelled, and callers are let in again a second later."""
    bound = QueueBound(counting, max_queued=2, clock=clock)
    cancelled = make_task()
    await fill(counting, cancelled, make_task(), make_task(), request=make_request())
    with pytest.raises(Overloaded):
        await bound.check()

    await counting.cancel(cancelled.id, tenant_id="alice")
    await counting.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    clock.now_s += BELIEVE_S

    await bound.check()


async def test_a_flood_is_counted_once_a_second(
    counting: CountingStore, clock: Clock, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """However many callers are refused, the store is asked once a second."""
    bound = QueueBound(counting, max_queued=1, clock=clock)
    await fill(counting, make_task(), request=make_request())

    for _ in range(50):
        with pytest.raises(Overloaded):
            await bound.check()
        clock.now_s += BELIEVE_S / 20

    assert counting.asked == 3


async def test_a_store_that_is_away_says_so_and_is_asked_again(
    counting: CountingStore, clock: Clock, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Trouble is told as trouble and not as a full queue, and what was known before it is not forgotten."""
    bound = QueueBound(counting, max_queued=1, clock=clock)
    await fill(counting, make_task(), request=make_request())
    with pytest.raises(Overloaded):
        await bound.check()
    counting.is_away = True
    clock.now_s += BELIEVE_S

    with pytest.raises(Unavailable):
        await bound.check()

    with pytest.raises(Overloaded):
        await bound.check()
    counting.is_away = False
    clock.now_s += BELIEVE_S
    with pytest.raises(Overloaded):
        await bound.check()
