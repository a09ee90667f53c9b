"""Counts of what models have done, with a clock that stands still."""

from __future__ import annotations

import asyncio

import pytest

from deployments.errors import Unavailable
from deployments.operations.statistics import BELIEVE_S, Counts, RecentCounts
from deployments.tasks.task import TaskState
from deployments.tasks.views import StateCount


class Table:
    """What is counted; says how often it was, and what the time is."""

    def __init__(self) -> None:
        self.reads = 0
        self.is_away = False
        self.now_s = 1000.0

    async def count(self) -> Counts:
        """Read it all, which takes a moment."""
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable
        self.reads += 1
        return {("uno", TaskState.QUEUED): StateCount(tasks=self.reads, inference_ms=0, waited_ms=0, finished_at=None)}

    def time_s(self) -> float:
        """Read the clock."""
        return self.now_s


@pytest.fixture
def table() -> Table:
    """Return a table that nobody has counted."""
    return Table()


@pytest.fixture
def counts(table: Table) -> RecentCounts:
    """Return the counts of that table, by its clock."""
    return RecentCounts(table.count, clock=table.time_s)


async def test_many_who_ask_cost_one_count(table: Table, counts: RecentCounts) -> None:
    """Whoever asks within the same five seconds, at once or later, costs one look at the table."""
    together = await asyncio.gather(*(counts.read() for _ in range(50)))
    table.now_s += BELIEVE_S - 0.001
    later = await counts.read()

    assert table.reads == 1
    assert all(each == later for each in together)


async def test_old_counts_are_made_anew(table: Table, counts: RecentCounts) -> None:
    """After five seconds the table is looked at again."""
    await counts.read()
    table.now_s += BELIEVE_S

    anew = await counts.read()

    assert anew["uno", TaskState.QUEUED].tasks == 2


async def test_counts_that_could_not_be_made_are_not_believed(table: Table, counts: RecentCounts) -> None:
    """While the table is away its callers are told so, and the first one after that is answered."""
    table.is_away = True
    with pytest.raises(Unavailable):
        await counts.read()

    table.is_away = False

    assert (await counts.read())["uno", TaskState.QUEUED].tasks == 1
