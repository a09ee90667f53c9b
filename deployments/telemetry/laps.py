"""What was done for a task in this process, and when: noted where it is done, for whoever works on the task.

Whoever begins with a task says so for the block it works in; what is called from there notes its laps without being
told for whom, as loggers know of which task they speak.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from models.resident import Stretch, longer

#: What is done for a task in this process besides what its device does.
FETCH, DECODE_REFERENCES, CHECK, ENCODE, DELIVER = "fetch", "decode_references", "check", "encode", "deliver"


@dataclass(slots=True)
class Laps:
    """The laps of one task."""

    #: By what was done; seconds of the monotonic clock.
    by_name: dict[str, Stretch] = field(default_factory=dict)

    def add(self, name: str, began_s: float, ended_s: float) -> None:
        """Note that something was done."""
        self.by_name = longer(self.by_name, name, began_s, ended_s)

    def seconds(self, name: str) -> float:
        """Return how long something took in all; 0 where it was not done."""
        return self.by_name[name].seconds if name in self.by_name else 0.0


_current: ContextVar[Laps | None] = ContextVar("laps", default=None)


@contextmanager
def noting(laps: Laps) -> Iterator[None]:
    """Note the laps of a block, and of all that it starts, for one task."""
    before = _current.set(laps)
    try:
        yield
    finally:
        _current.reset(before)


@contextmanager
def lap(name: str) -> Iterator[None]:
    """Note when a block begins and ends, for the task that is worked on here, if any."""
    began_s = time.monotonic()
    try:
        yield
    finally:
        laps = _current.get()
        if laps is not None:
            laps.add(name, began_s, time.monotonic())
