"""Which tasks a replica holds, and whether there is room for more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from deployments.replica.holding import Held, Load
from deployments.replica.task_trace import trace_task

if TYPE_CHECKING:
    from deployments.replica.limits import Limits
    from deployments.tasks.task import Claim

#: Over how many steps the time of one is averaged.
STEPS_REMEMBERED = 8


class Custody:
    """Everything that was claimed and is not done with."""

    def __init__(self, limits: Limits) -> None:
        """Hold nothing."""
        #: Set while one more task may be claimed.
        self.has_room = asyncio.Event()
        #: Set when more may be claimed than a moment before; cleared by who asks.
        self.has_more_room = asyncio.Event()
        #: Set while nothing is left to step.
        self.is_idle = asyncio.Event()
        #: Set while nothing is held.
        self.is_empty = asyncio.Event()
        self._limits = limits
        self._held: dict[str, Held] = {}
        self._step_s = 0.0
        self._room = 0
        self._show_room()

    def __len__(self) -> int:
        """Count what is held."""
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        """Go through what is held now, whatever comes and goes meanwhile."""
        return iter(list(self._held.values()))

    def __contains__(self, held: Held) -> bool:
        """Whether a claim is still held: it itself, not a later one of the same task."""
        return self._held.get(held.task_id) is held

    @property
    def load(self) -> Load:
        """Return what is left to step of it."""
        limits = self._limits
        return Load(held=self._held.values(), step_s=self._step_s, ahead_s=limits.ahead_s, polite_s=limits.polite_s)

    def named(self, task_ids: Iterable[str]) -> list[tuple[str, Held]]:
        """Return those of some tasks that are held, each with its name."""
        return [(task_id, self._held[task_id]) for task_id in task_ids if task_id in self._held]

    def take(self, claim: Claim) -> Held:
        """Hold what was claimed; what it overtakes remembers that."""
        held = Held(claim=claim, since_s=time.monotonic())
        for other in self.load.going_on:
            other.times_overtaken += other.claim.rank > claim.rank
        self._held[held.task_id] = held
        self._show_room()
        return held

    def drop(self, held: Held) -> None:
        """Be done with a claim; nothing happens where it is no longer held."""
        if held in self:
            del self._held[held.task_id]
            trace_task(held)
        self._show_room()

    def note_step(self, took_s: float) -> None:
        """Note that tasks have come nearer to their ends, and how long that took."""
        self._step_s += (took_s - self._step_s) / (STEPS_REMEMBERED if self._step_s else 1)
        self._show_room()

    def _show_room(self) -> None:
        load, before = self.load, self._room
        self._room = load.room if len(self._held) < self._limits.capacity else 0
        _show(self.has_room, self._room > 0)
        if self._room > before:
            self.has_more_room.set()
        _show(self.is_idle, not load.unfinished)
        _show(self.is_empty, not self._held)


def _show(event: asyncio.Event, is_so: bool) -> None:  # noqa: FBT001 -- the fact to show
    if is_so:
        event.set()
    else:
        event.clear()
