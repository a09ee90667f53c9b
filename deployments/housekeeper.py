"""The housekeeper: what must happen even when nobody calls and no replica lives.

It gives tasks whose lease ended back to the queue, and erases what tasks hold, and the tasks, when their time is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from deployments.rounds import Round, forever, run_until
from deployments.telemetry.metrics import RESCUED

if TYPE_CHECKING:
    import asyncio

    from deployments.delivery.files import FilesSink
    from deployments.delivery.kept_space import KeptSpace
    from deployments.erasing import Eraser
    from deployments.tasks.store import Forgotten, Rescued, TaskStore

log = structlog.get_logger()

#: Seconds between rescues; a dead replica's tasks wait a lease and at most this much more.
RESCUE_EVERY_S = 1.0
#: Seconds between sweeps, each of which lists the whole folder.
SWEEP_EVERY_S = 60.0
#: Seconds between rounds of forgetting, each of which deletes a few thousand rows at most.
FORGET_EVERY_S = 10.0


class Housekeeper:
    """Tidies the store and the files sink, round after round."""

    def __init__(self, *, store: TaskStore, files: FilesSink, space: KeptSpace, eraser: Eraser, keep_s: float) -> None:
        """Take what is to be kept tidy, and how long an ended task is kept, in seconds, blanked or not."""
        self._store = store
        self._files = files
        self._space = space
        self._eraser = eraser
        self._keep_s = keep_s

    async def run(self, stopping: asyncio.Event) -> None:
        """Tidy until told to stop."""
        await run_until(
            stopping,
            forever(Round.RESCUE, self.rescue_once, every_s=RESCUE_EVERY_S),
            forever(Round.SWEEP, self.sweep_once, every_s=SWEEP_EVERY_S),
            forever(Round.ERASE, self.erase_once, every_s=FORGET_EVERY_S),
            forever(Round.FORGET, self.forget_once, every_s=FORGET_EVERY_S),
        )

    async def rescue_once(self) -> Rescued:
        """Queue again, or give up, every task whose lease has ended."""
        rescued = await self._store.rescue()
        RESCUED.add(rescued.requeued, move="requeued")
        RESCUED.add(rescued.quarantined, move="quarantined")
        if rescued.requeued or rescued.quarantined:
            log.info("tasks_rescued", requeued=rescued.requeued, quarantined=rescued.quarantined)
        return rescued

    async def sweep_once(self) -> int:
        """Delete every picture whose time is over, and return how many; whoever kept one has its room again."""
        now_s = self._files.now_s()
        swept = await self._files.sweep()
        await self._space.forget(now_s=now_s)
        if swept:
            log.info("pictures_swept", swept=swept)
        return swept

    async def erase_once(self) -> int:
        """Erase what tasks hold whose time is over or that were deleted, and return of how many."""
        erased = await self._eraser.erase_due()
        if erased:
            log.info("tasks_erased", erased=erased)
        return erased

    async def forget_once(self) -> Forgotten:
        """Delete the tasks whose time is over, and the requests that nobody needs any more."""
        forgotten = await self._store.forget(keep_s=self._keep_s)
        if forgotten.tasks or forgotten.requests:
            log.info("tasks_forgotten", tasks=forgotten.tasks, requests=forgotten.requests)
        return forgotten
