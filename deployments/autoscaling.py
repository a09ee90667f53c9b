"""How many replicas a deployment wants, from what waits for its models; Serve's own policy counts calls.

    backlog in work units / (measured speed * aimed wait)  ->  needed now  ->  most needed lately  ->  wanted

Up at once; down only to the most that was needed within the calm time, so that it never flaps. The rule is pure; only
``BacklogPolicy`` meets a database, and it lives in Serve's controller, where nothing may block.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from deployments.background import Background
from deployments.database.database import open_database
from deployments.rounds import forever, run_until
from deployments.settings import read_settings
from deployments.tasks.backlog import Backlog, Run, read_backlog

#: Seconds between two looks at the backlog.
LOOK_EVERY_S = 2.0
#: Seconds after which what was read last says nothing of now; as long as the database is away, nothing changes.
STALE_S = 30.0
#: Seconds that runs have to cover together before their speed is believed.
ENOUGH_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What an operator wants of a deployment."""

    #: Seconds that what waits now should take at most.
    wait_s: float = 30.0
    #: Seconds for which fewer replicas have to be enough before there are fewer.
    calm_s: float = 300.0
    #: Tasks that a replica holds at once.
    capacity: int = 4
    #: Work units that a replica does in a second, until it is measured.
    units_per_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How many replicas were needed at a moment."""

    #: Seconds on a clock that only grows.
    at_s: float
    #: How many.
    replicas: int


class Scaled(Protocol):
    """What Serve tells a policy, as far as this one listens."""

    @property
    def target_num_replicas(self) -> int:
        """Return how many replicas there are to be at present."""


def needed(backlog: Backlog, *, aim: Aim, units_per_s: float) -> int:
    """Return how many replicas work the backlog off in time, and hold what runs; 0 only when there is nothing."""
    for_waiting = math.ceil(backlog.queued_units / (units_per_s * aim.wait_s))
    for_running = math.ceil(backlog.running / aim.capacity)
    return max(for_waiting, for_running, int(backlog.queued > 0))


def speed(runs: Iterable[Run]) -> float | None:
    """Return the work units that a replica does in a second while it has any to do; None when too little was seen.

    Args:
        runs: what ended lately; runs of one replica may overlap, and then share it.
    """
    by_replica = groupby(sorted(runs, key=attrgetter("replica", "started_s")), key=attrgetter("replica"))
    units = busy_s = 0.0
    for _, of_one in by_replica:
        own = list(of_one)
        units += sum(run.units for run in own)
        busy_s += _covered_s(own)
    return units / busy_s if busy_s >= ENOUGH_S and units > 0 else None


def _covered_s(runs: Sequence[Run]) -> float:
    """Return how long at least one of some runs was under way; they come in the order of their starts."""
    covered, until_s = 0.0, -math.inf
    for run in runs:
        covered += max(0.0, run.ended_s - max(run.started_s, until_s))
        until_s = max(until_s, run.ended_s)
    return covered


def remembered(needs: Sequence[Need], new: Need, *, calm_s: float) -> tuple[Need, ...]:
    """Return the needs of the calm time with a new one; what a later and greater one hides is left out."""
    kept = [need for need in needs if need.at_s > new.at_s - calm_s and need.replicas > new.replicas]
    return (*kept, new)


def wanted(needs: Sequence[Need]) -> int:
    """Return the most that was needed within the calm time."""
    return max(need.replicas for need in needs)


class BacklogPolicy:
    """Tells Serve how many replicas of one deployment there are to be; ``serve_config.yaml`` names it."""

    def __init__(self, *, models: list[str], **aim: Any) -> None:
        """Start looking at the backlog.

        Args:
            models: which the deployment holds.
            aim: the fields of ``Aim``.
        """
        self._models = models
        self._aim = Aim(**aim)
        self._needs: tuple[Need, ...] = ()
        self._seen: Need | None = None
        #: Set once the backlog has been read.
        self.has_looked = threading.Event()
        self._background = Background("backlog", self._look)

    def __repr__(self) -> str:
        """Say what it wants."""
        most = wanted(self._needs) if self._needs else "nothing yet"
        return f"<BacklogPolicy [{', '.join(self._models)} | wants {most}]>"

    def __call__(self, scaled: Scaled) -> tuple[int, dict[str, Any]]:
        """Return how many replicas there are to be, and no state; while the backlog cannot be read, as many as now."""
        now_s, seen = time.monotonic(), self._seen
        if seen is None or now_s - seen.at_s > STALE_S:
            return scaled.target_num_replicas, {}
        # What there is now counts as needed at first: a controller that has just started knows of no past.
        before = self._needs or (Need(at_s=now_s, replicas=scaled.target_num_replicas),)
        self._needs = remembered(before, Need(at_s=now_s, replicas=seen.replicas), calm_s=self._aim.calm_s)
        return wanted(self._needs), {}

    def close(self) -> None:
        """Look no more."""
        self._background.close(timeout_s=LOOK_EVERY_S)

    async def _look(self, stopping: asyncio.Event) -> None:
        await run_until(stopping, forever(self._look_once, every_s=LOOK_EVERY_S))

    async def _look_once(self) -> None:
        database = await open_database(read_settings().store_url)
        try:
            backlog = await read_backlog(database, self._models)
        finally:
            await database.close()
        units_per_s = speed(backlog.runs) or self._aim.units_per_s
        self._seen = Need(at_s=time.monotonic(), replicas=needed(backlog, aim=self._aim, units_per_s=units_per_s))
        self.has_looked.set()
