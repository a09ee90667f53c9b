"""The housekeeper: what must happen even when nobody calls and no replica lives.

It gives tasks whose lease ended back to the queue, and deletes pictures whose time is over.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from deployments.delivery.files import FilesSink
    from deployments.tasks.store import TaskStore

log = structlog.get_logger()

#: Seconds between rounds; a dead replica's tasks wait a lease and at most one round more.
ROUND_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did."""

    #: Tasks given back to the queue.
    requeued: int
    #: Tasks given up.
    quarantined: int
    #: Pictures deleted.
    swept: int


class Housekeeper:
    """Tidies the store and the files sink, round after round."""

    def __init__(self, *, store: TaskStore, files: FilesSink) -> None:
        """Take what is to be kept tidy."""
        self._store = store
        self._files = files

    async def run(self) -> None:
        """Tidy until cancelled."""
        while True:
            try:
                await self.run_once()
            except Exception:  # a bad round must not end the loop; the next one finds the same work
                log.exception("housekeeping_failed")
            await asyncio.sleep(ROUND_S)

    async def run_once(self) -> Round:
        """Do everything that is due now."""
        rescued = await self._store.rescue()
        swept = await self._files.sweep()
        done = Round(requeued=rescued.requeued, quarantined=rescued.quarantined, swept=swept)
        if done != Round(requeued=0, quarantined=0, swept=0):
            log.info("housekeeping_done", requeued=done.requeued, quarantined=done.quarantined, swept=done.swept)
        return done
