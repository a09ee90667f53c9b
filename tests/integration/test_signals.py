"""Wake-ups from a real database: none is missed, none is invented."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deployments.database.signals import StoreSignal, open_signal
from deployments.database.sqlite_signal import SqliteSignal
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]

#: Far longer than any wake-up takes, so that reaching it means none came.
LONG_S = 30.0


@pytest.fixture
async def signal(store: TaskStore, database_url: str) -> AsyncIterator[StoreSignal]:
    """Return a signal on the database of ``store`` that is watching already."""
    await store.ping()
    opened = open_signal(database_url)
    if database_url.startswith("postgresql"):
        await opened.wait(opened.mark(), timeout_s=LONG_S)  # beginning to listen is a change
    yield opened
    await opened.close()


async def test_a_write_wakes_every_waiter(
    store: TaskStore, signal: StoreSignal, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """All who wait in a process are woken by one write, long before their timeout."""
    mark = signal.mark()
    waiters = [asyncio.create_task(signal.wait(mark, timeout_s=LONG_S)) for _ in range(50)]

    await store.accept(make_task(), make_request())

    await asyncio.wait_for(asyncio.gather(*waiters), LONG_S / 2)


async def test_a_write_before_the_wait_is_not_missed(
    store: TaskStore, signal: StoreSignal, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """What was written after the mark was taken ends a wait that begins later."""
    mark = signal.mark()
    await store.accept(make_task(), make_request())

    await asyncio.wait_for(signal.wait(mark, timeout_s=LONG_S), LONG_S / 2)


async def test_a_new_mark_waits_for_new_writes(
    store: TaskStore, signal: StoreSignal, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A write that came before the mark wakes nobody; a wait runs to its timeout and returns."""
    before = signal.mark()
    await store.accept(make_task(), make_request())
    await signal.wait(before, timeout_s=LONG_S)
    mark = signal.mark()
    longer = asyncio.create_task(signal.wait(mark, timeout_s=LONG_S))
    await asyncio.wait({longer}, timeout=0.05)

    await asyncio.wait_for(signal.wait(mark, timeout_s=0.1), LONG_S / 2)

    assert not longer.done()
    assert signal.mark() == mark
    longer.cancel()


async def test_reads_wake_nobody(store: TaskStore, signal: StoreSignal) -> None:
    """Readers, and claims and beats that change nothing, leave the mark as it is, or idle replicas would never rest."""
    mark = signal.mark()

    await store.ping()
    await store.backlog()
    await store.rescue()
    await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    assert signal.mark() == mark


async def test_every_write_of_many_is_noticed(
    store: TaskStore, signal: StoreSignal, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A waiter that reads after every wake-up sees the last of a hundred writes without help from a timeout."""
    seen = 0

    async def watch() -> None:
        nonlocal seen
        while seen < 100:
            mark = signal.mark()
            seen = sum(sum(states.values()) for states in (await store.backlog()).values())
            if seen < 100:
                await signal.wait(mark, timeout_s=LONG_S)

    watching = asyncio.create_task(watch())

    for _ in range(100):
        await store.accept(make_task(), make_request())
    await asyncio.wait_for(watching, LONG_S / 2)

    assert seen == 100


async def test_a_waiter_that_goes_away_leaves_the_others_waiting(
    store: TaskStore, signal: StoreSignal, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Cancelling one wait neither wakes nor deafens another."""
    mark = signal.mark()
    leaving, staying = (asyncio.create_task(signal.wait(mark, timeout_s=LONG_S)) for _ in range(2))
    await asyncio.wait({leaving}, timeout=0.05)

    leaving.cancel()
    await asyncio.wait({leaving})

    assert not staying.done()
    await store.accept(make_task(), make_request())
    await asyncio.wait_for(staying, LONG_S / 2)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nobody_looks_while_nobody_waits(store: TaskStore, database_url: str) -> None:
    """An idle signal costs nothing: it stops looking once the last wait is over."""
    await store.ping()
    signal = SqliteSignal(database_url)

    await signal.wait(signal.mark(), timeout_s=0.02)
    assert signal._looking is not None
    await asyncio.wait_for(signal._looking, LONG_S)

    await signal.close()


async def test_a_missing_file_is_waited_out(tmp_path: Path) -> None:
    """Without a database a wait runs to its timeout, raises nothing and makes no file."""
    path = tmp_path / "not_there.db"
    signal = open_signal(f"sqlite:///{path}")

    await signal.wait(signal.mark(), timeout_s=0.05)
    await signal.close()

    assert not path.exists()


async def test_a_file_that_appears_is_a_change(tmp_path: Path) -> None:
    """Whoever waited for a database that was away is woken when it comes."""
    url = f"sqlite:///{tmp_path / 'late.db'}"
    signal = open_signal(url)
    waiting = asyncio.create_task(signal.wait(signal.mark(), timeout_s=LONG_S))

    store = await TaskStore.open(url)
    await asyncio.wait_for(waiting, LONG_S / 2)

    await signal.close()
    await store.close()


def test_an_unknown_database_has_no_signal() -> None:
    """A kind of database that nothing can watch is named, beside those that can."""
    with pytest.raises(ValueError, match=r"oracle.*sqlite"):
        open_signal("oracle://db")
