"""Work that goes on for ever, in rounds; the only home of a broad except."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()

#: Seconds after a round that failed, so that a database that is away is not asked without pause.
AFTER_FAILURE_S = 1.0


async def run_until(stopping: asyncio.Event, *loops: Coroutine[Any, Any, None]) -> None:
    """Run loops side by side until told to stop; one that raises ends them all."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(loop) for loop in loops]
        await stopping.wait()
        for each in running:
            each.cancel()


async def forever(once: Callable[[], Awaitable[object]], *, every_s: float = 0.0) -> None:
    """Run one round after another until cancelled.

    Args:
        once: does everything that is due; may wait for something to become due.
        every_s: seconds between the end of a round and the next one.
    """
    while True:
        try:
            await once()
            await asyncio.sleep(every_s)
        except Exception:  # a bad round must not end the loop; whatever it left undone, the next one finds
            log.exception("round_failed")
            await asyncio.sleep(max(every_s, AFTER_FAILURE_S))
