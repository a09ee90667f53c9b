"""Work that goes on for ever, in rounds of which a bad one does not end it; and waiting for the first of several."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from typing import Any

import structlog

from deployments.clock import utc_now
from deployments.telemetry.metrics import ROUND_ENDED, ROUNDS_FAILED

log = structlog.get_logger()

#: Seconds after a round that failed, so that a database that is away is not asked without pause.
AFTER_FAILURE_S = 1.0


class Round(StrEnum):
    """What is done in rounds, as metrics and logs name it."""

    #: A housekeeper gives back tasks whose lease has ended.
    RESCUE = "rescue"
    #: A housekeeper deletes pictures whose time is over.
    SWEEP = "sweep"
    #: A housekeeper erases what tasks hold.
    ERASE = "erase"
    #: A housekeeper deletes tasks.
    FORGET = "forget"
    #: A housekeeper shows how much waits and runs.
    COUNT = "count"
    #: A housekeeper sends webhooks that are due.
    WEBHOOKS = "webhooks"
    #: A housekeeper shows how many replicas are wanted.
    STAFF = "staff"
    #: A replica claims a task.
    CLAIM = "claim"
    #: A replica steps its engine until that is idle.
    STEP = "step"
    #: A replica renews its leases.
    BEAT = "beat"
    #: A replica looks for what was cancelled.
    LOOK = "look"
    #: Ray Serve's controller reads what waits, to say how many replicas there are to be.
    BACKLOG = "backlog"


#: What some housekeeper has to end again and again, whatever else happens: none of these waits for work, or Ray's head.
TIDYING = frozenset({Round.RESCUE, Round.SWEEP, Round.ERASE, Round.FORGET, Round.COUNT, Round.WEBHOOKS})


async def run_until(stopping: asyncio.Event, *loops: Coroutine[Any, Any, None]) -> None:
    """Run loops side by side until told to stop; one that raises ends them all."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(loop) for loop in loops]
        await stopping.wait()
        for each in running:
            each.cancel()


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of several waits is over, and end the others; what that one raised is raised."""
    waiting = [asyncio.create_task(wait) for wait in waits]
    try:
        over, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in over:
            each.result()
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def forever(name: Round, once: Callable[[], Awaitable[object]], *, every_s: float = 0.0) -> None:
    """Run one round after another until cancelled.

    Args:
        name: what it is called where it is measured.
        once: does everything that is due; may wait for something to become due.
        every_s: seconds between the end of a round and the next one.
    """
    # From the start, so that the first that fails is seen to be one more, and one that never ends to be late.
    ROUNDS_FAILED.add(0, round=name)
    ROUND_ENDED.set(utc_now().timestamp(), round=name)
    while True:
        try:
            await once()
            ROUND_ENDED.set(utc_now().timestamp(), round=name)
            await asyncio.sleep(every_s)
        except Exception:  # a bad round must not end the loop; whatever it left undone, the next one finds
            ROUNDS_FAILED.add(round=name)
            log.exception("round_failed", round=name)
            await asyncio.sleep(max(every_s, AFTER_FAILURE_S))
