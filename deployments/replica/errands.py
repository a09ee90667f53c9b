"""What single tasks need beside the loops of a replica: their references brought, their pictures taken out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from deployments.telemetry.laps import noting

if TYPE_CHECKING:
    from deployments.replica.holding import Held

log = structlog.get_logger()


class Errands:
    """Runs errands; what one raises touches its task alone.

    Args:
        drop: lets go of a task whose errand went wrong.
    """

    def __init__(self, drop: Callable[[Held], None]) -> None:
        self._drop = drop
        self._running: set[asyncio.Task[None]] = set()

    def run(self, held: Held, errand: Coroutine[Any, Any, None]) -> None:
        """Begin an errand for a task."""
        running = asyncio.create_task(self._guard(held, errand))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def cancel(self) -> None:
        """Cancel what runs, and wait until it has ended."""
        running = list(self._running)
        for errand in running:
            errand.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _guard(self, held: Held, errand: Coroutine[Any, Any, None]) -> None:
        try:
            with noting(held.laps):
                await errand
        except Exception:  # the store or a sink is in trouble: the lease ends by itself, and the task is tried again
            log.exception("errand_failed", task_id=held.task_id)
            self._drop(held)
