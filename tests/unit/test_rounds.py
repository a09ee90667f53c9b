"""Work in rounds: what becomes of one that fails, and how it is told."""

from __future__ import annotations

import asyncio

import pytest

from deployments.clock import utc_now
from deployments.rounds import Round, first_of, forever
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import ROUND_ENDED, ROUNDS_FAILED

#: Far longer than anything here takes.
PATIENCE_S = 30.0


async def follow(name: Round, *, fails_first: int, rounds: int) -> list[float]:
    """Run rounds, of which the first few fail, and stop in the one after the last; return when each began."""
    begun: list[float] = []
    is_over = asyncio.Event()

    async def once() -> None:
        begun.append(utc_now().timestamp())
        if len(begun) > rounds:
            is_over.set()
            await asyncio.Event().wait()
        if len(begun) <= fails_first:
            raise OSError("away")

    running = asyncio.create_task(forever(name, once))
    await asyncio.wait_for(is_over.wait(), PATIENCE_S)
    running.cancel()
    await asyncio.wait([running])
    return begun


async def test_a_round_that_fails_is_counted_and_tried_again() -> None:
    """Each failure counts under the round's own name, and the next round is begun."""
    before = value_of(ROUNDS_FAILED, round="forget")

    await follow(Round.FORGET, fails_first=1, rounds=2)

    assert value_of(ROUNDS_FAILED, round="forget") == before + 1


async def test_a_round_that_ends_says_when() -> None:
    """The moment of the last good end is shown; a round that hangs leaves it as it is."""
    _, last, hanging = await follow(Round.ERASE, fails_first=0, rounds=2)

    assert last <= value_of(ROUND_ENDED, round="erase") <= hanging


async def test_a_round_that_never_ends_is_late_from_its_start() -> None:
    """Before the first good end stands when the rounds were begun, so that waiting for it can be told."""
    began = utc_now().timestamp()

    await follow(Round.SWEEP, fails_first=0, rounds=0)

    assert value_of(ROUND_ENDED, round="sweep") >= began
    assert value_of(ROUNDS_FAILED, round="sweep") == 0


@pytest.mark.parametrize("is_cut_off", [False, True])
async def test_the_first_of_several_waits_ends_the_others(*, is_cut_off: bool) -> None:
    """Whatever the others wait for, they are told to stop; so they are when nobody waits for the first any more."""
    first, stopped = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    waiting = asyncio.create_task(first_of(first.wait(), other()))
    await asyncio.sleep(0)  # both have begun to wait
    await asyncio.sleep(0)
    if is_cut_off:
        waiting.cancel()
    else:
        first.set()

    await asyncio.wait_for(stopped.wait(), PATIENCE_S)
    await asyncio.wait([waiting])
    assert waiting.cancelled() is is_cut_off


async def test_what_the_first_wait_raises_is_raised() -> None:
    """Who waits hears of trouble, and does not take it for what it waited for."""

    async def away() -> None:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await first_of(away(), asyncio.sleep(PATIENCE_S))
