"""Steady calls on the real ingress and replicas, and on a server that goes away under them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from running_service import free_port

from loadtest.dialect_cost import KEY, SCENES, serving
from loadtest.openloop.wire import connected
from loadtest.steady import Steady

#: Two replicas that take 20 ms for ten steps.
SCENE = replace(SCENES["carried out"], task_s=0.02)
#: Calls after which the tests have seen every kind and every dialect.
ENOUGH = 60


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path) -> Iterator[None]:
    """Let the service keep its pictures in a folder of the test."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield
    os.chdir(before)


async def until_called(steady: Steady, number: int) -> None:
    """Wait until so many calls were answered, or given up."""
    async with asyncio.timeout(60):
        while len(steady.calls) < number:  # noqa: ASYNC110 -- it tells nobody
            await asyncio.sleep(0.01)


async def test_every_call_is_answered_and_every_task_has_its_end(tmp_path: Path) -> None:
    """Calls of all kinds go well, and each task in each dialect succeeds once."""
    port, stopping = free_port(), asyncio.Event()
    async with (
        serving(f"sqlite:///{tmp_path / 'uxo.db'}", SCENE, port=port),
        connected(f"http://127.0.0.1:{port}") as wire,
    ):
        steady = Steady(wire, key=KEY, rate=100.0)
        running = asyncio.create_task(steady.run(stopping))
        await until_called(steady, ENOUGH)
        stopping.set()
        await running

        ledger = await steady.settle(patience_s=60)

    assert [call.error for call in steady.calls if call.error] == []
    assert {call.kind for call in steady.calls} == {"submit", "hold", "read", "settle"}
    assert ledger.is_sound
    assert steady.ends() == {"succeeded": ledger.accepted}
    assert ledger.accepted >= ENOUGH // 10


async def test_a_server_that_is_not_there_fails_every_call() -> None:
    """A call that nobody answers is a failed one."""
    stopping = asyncio.Event()
    async with connected(f"http://127.0.0.1:{free_port()}") as wire:
        steady = Steady(wire, key=KEY, rate=100.0)
        running = asyncio.create_task(steady.run(stopping))
        await until_called(steady, 21)
        stopping.set()
        await running

    assert {call.error for call in steady.calls} == {"no connection"}
    assert "0 tasks" in repr(steady)
