"""Tells waiting callers that their tasks have ended, asking the store once for all of them.

Were every caller to look for itself, each write by anybody would cost a read per caller. Knows no pictures and no HTTP.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from deployments.errors import Unavailable

if TYPE_CHECKING:
    from deployments.database.signals import StoreSignal
    from deployments.tasks.store import TaskStore

#: Seconds after which it looks again without a signal.
POLL_S = 1.0
#: Seconds between two looks, however often the store changes.
LOOK_EVERY_S = 0.02


class Ends:
    """The tasks that somebody in this process waits for."""

    def __init__(self, store: TaskStore, signal: StoreSignal) -> None:
        """Take what is asked, and what says that asking is worth while; starts nothing until somebody waits."""
        self._store = store
        self._signal = signal
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        """Say how many are waited for."""
        return f"<Ends [{len(self._waiting)} tasks waited for]>"

    async def wait(self, task_id: str) -> None:
        """Return once a task has ended, or is gone; a database that is away is waited for."""
        ended = asyncio.Event()
        self._waiting[task_id].add(ended)
        self._keep_looking()
        try:
            await ended.wait()
        finally:
            self._waiting[task_id].discard(ended)
            if not self._waiting[task_id]:
                del self._waiting[task_id]

    def _keep_looking(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_while_waited_for())

    async def _look_while_waited_for(self) -> None:
        while self._waiting:
            seen = self._signal.mark()
            with suppress(Unavailable):
                await self._look()
            if self._waiting:
                await self._signal.wait(seen, timeout_s=POLL_S)
                await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        asked = list(self._waiting)
        alive = await self._store.alive(asked)
        for task_id in asked:
            if task_id not in alive:
                for ended in self._waiting.get(task_id, ()):
                    ended.set()
