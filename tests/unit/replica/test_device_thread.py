"""The one thread that touches the device: order, exceptions, and whether it still moves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from deployments.replica.device_thread import DeviceThread

#: Far longer than anything here takes.
PATIENCE_S = 20.0


@pytest.fixture
def device() -> Iterator[DeviceThread]:
    """Return a device's thread."""
    device = DeviceThread()
    yield device
    device.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Return what a call can hang on; it opens when the test ends, so that no thread is left."""
    gate = threading.Event()
    yield gate
    gate.set()


async def hang(device: DeviceThread, gate: threading.Event) -> asyncio.Task[bool]:
    """Start a call that hangs on the gate, and return once the device's thread is in it."""
    inside = threading.Event()

    def call() -> bool:
        inside.set()
        return gate.wait(PATIENCE_S)

    hanging = asyncio.create_task(device.call(call))
    await asyncio.to_thread(inside.wait, PATIENCE_S)
    return hanging


async def test_calls_run_on_one_thread_in_order(device: DeviceThread) -> None:
    """However many wait, calls run one after another, in the order in which they came, on one other thread."""
    threads: set[str] = set()

    def call(number: int) -> int:
        threads.add(threading.current_thread().name)
        return number

    answers = await asyncio.gather(*(device.call(call, number) for number in range(20)))

    assert answers == list(range(20))
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


async def test_arguments_arrive(device: DeviceThread) -> None:
    """Arguments are handed on by place and by name."""
    assert await device.call(sorted, [1, 3, 2], reverse=True) == [3, 2, 1]


async def test_what_a_call_raises_is_raised_for_its_caller_alone(device: DeviceThread) -> None:
    """An exception reaches whoever made the call; the next call works."""
    with pytest.raises(ValueError, match="invalid literal"):
        await device.call(int, "x")

    assert await device.call(int, "7") == 7


async def test_an_idle_device_is_not_stuck(device: DeviceThread) -> None:
    """While nobody waits for the device, it is not stuck, however long ago its last call was."""
    await device.call(int)

    assert device.stuck_s == 0


async def test_a_hanging_call_is_stuck_for_longer_and_longer(device: DeviceThread, gate: threading.Event) -> None:
    """While one call is inside and none has ended, the time grows, though others wait."""
    hanging = await hang(device, gate)
    waiting = asyncio.create_task(device.call(int))

    stuck_s = [device.stuck_s for _ in range(3)]

    assert stuck_s == sorted(set(stuck_s))
    assert stuck_s[0] > 0
    gate.set()
    assert (await hanging, await waiting) == (True, 0)
    assert device.stuck_s == 0


async def test_every_call_that_ends_starts_the_time_anew(device: DeviceThread, gate: threading.Event) -> None:
    """A device with a long line of calls is not stuck while they end one after another, well or badly."""
    started = time.monotonic()
    hanging = await hang(device, gate)
    raising = asyncio.create_task(device.call(divmod, 1, 0))
    gate.set()
    await hanging
    second = threading.Event()
    waiting = asyncio.create_task(device.call(second.wait, PATIENCE_S))
    await asyncio.wait({waiting}, timeout=0)
    with pytest.raises(ZeroDivisionError):
        await raising
    since_s = time.monotonic() - started

    stuck_s = device.stuck_s

    assert 0 < stuck_s < since_s
    second.set()
    assert await waiting


async def test_a_closed_device_starts_nothing_more(device: DeviceThread, gate: threading.Event) -> None:
    """Closing leaves the call inside alone, drops those that wait, and refuses new ones."""
    hanging = await hang(device, gate)
    waiting = asyncio.create_task(device.call(int))
    await asyncio.wait({waiting}, timeout=0)

    device.close()
    gate.set()

    assert await hanging
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="after shutdown"):
        await device.call(int)
