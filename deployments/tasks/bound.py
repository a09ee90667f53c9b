"""The bound on all that waits: beyond it, calls are refused before memory or anybody's latency suffers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from deployments.errors import Overloaded

if TYPE_CHECKING:
    from deployments.tasks.store import TaskStore

#: Seconds for which a count is believed; what comes in meanwhile may pass the bound by as much.
BELIEVE_S = 1.0
#: When a caller who found the queue full should try again, in seconds.
RETRY_AFTER_S = 10


class QueueBound:
    """Refuses calls while too many tasks wait, over all tenants and models."""

    def __init__(self, store: TaskStore, *, max_queued: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the bound in tasks, and a clock that only grows, in seconds."""
        self._store = store
        self._max_queued = max_queued
        self._clock = clock
        self._is_full = False
        self._counted_at = -BELIEVE_S

    async def check(self) -> None:
        """Return if there is room.

        Raises:
            Overloaded: when there is none.
            Unavailable: when the store cannot be asked.
        """
        if self._clock() - self._counted_at >= BELIEVE_S:
            self._counted_at = self._clock()
            self._is_full = await self._store.has_queued(self._max_queued)
        if self._is_full:
            raise Overloaded(retry_after_s=RETRY_AFTER_S)
