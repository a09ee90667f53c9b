"""Adds up what each model has done, and remembers the counts for a moment: to make them, a whole table is read."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from deployments.operations.outcome import ModelStatistics, Statistics
from deployments.tasks.task import TaskState
from models.catalog import CATALOG

if TYPE_CHECKING:
    from deployments.tasks.views import StateCount


#: Seconds for which counts are believed.
BELIEVE_S = 5.0

#: Tasks by model and state.
Counts = Mapping[tuple[str, TaskState], "StateCount"]


class RecentCounts:
    """The counts as they were a moment ago; however many ask at once, they are made once."""

    def __init__(self, count: Callable[[], Awaitable[Counts]], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take what makes the counts, and a clock that only grows, in seconds."""
        self._count = count
        self._clock = clock
        self._counting = asyncio.Lock()
        self._counts: Counts = {}
        self._believed_until_s = -math.inf

    async def read(self) -> Counts:
        """Return counts of the last ``BELIEVE_S`` seconds.

        Raises:
            Unavailable: when they have to be made anew and the database cannot be reached.
        """
        async with self._counting:
            if self._clock() >= self._believed_until_s:
                counted_at_s = self._clock()
                self._counts = await self._count()
                self._believed_until_s = counted_at_s + BELIEVE_S
            return self._counts


def statistics_of(counts: Counts) -> Statistics:
    """Write counts by model and state as what each model of the catalog has done."""
    return Statistics(models={model: _of(model, counts) for model in CATALOG})


def _of(model: str, counts: Counts) -> ModelStatistics:
    number = {state: counts[model, state].tasks if (model, state) in counts else 0 for state in TaskState}
    good = counts.get((model, TaskState.SUCCEEDED))
    ends = [each.finished_at for (name, _), each in counts.items() if name == model and each.finished_at]
    return ModelStatistics(
        queued=number[TaskState.QUEUED],
        running=number[TaskState.RUNNING],
        succeeded=number[TaskState.SUCCEEDED],
        failed=number[TaskState.FAILED],
        inference_ms=good.inference_ms if good else 0,
        waited_ms=good.waited_ms if good else 0,
        last_ended_at=max(ends, default=None),
    )
