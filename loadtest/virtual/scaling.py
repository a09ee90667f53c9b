"""How many replicas are wanted, as a virtual fleet asks: a set number, our own rule, or Ray Serve's usual policy. Pure.

Our rule is ``deployments.autoscaling`` itself. Serve's policy is written anew here from its documentation, for Serve's
own reads the time of day; a test holds it against Serve's.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from deployments.autoscaling import LOOK_EVERY_S, Aim, Need, needed, remembered, speed, wanted
from deployments.tasks.backlog import MAX_RUNS, RECENT_S, Backlog, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a rule sees of a fleet."""

    #: Seconds after the start.
    now_s: float
    #: Tasks that wait, and that run.
    queued: int
    running: int
    #: Work units that wait.
    queued_units: float
    #: What ended well lately, and when, the newest last.
    runs: deque[tuple[float, Run]]
    #: Replicas that can work.
    up: int
    #: Replicas that there are to be.
    target: int


class Scaling(Protocol):
    """Says how many replicas there are to be."""

    @property
    def every_s(self) -> float:
        """Return the seconds between two looks."""
        ...

    @property
    def remembers_s(self) -> float:
        """Return the seconds after which a look that saw nothing new has left no trace."""
        ...

    def wanted(self, sight: Sight) -> int:
        """Return how many replicas there are to be."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always as many."""

    #: How many.
    replicas: int
    #: Seconds between two looks, after which what was lost is replaced.
    every_s: float = LOOK_EVERY_S
    remembers_s: float = 0.0

    def wanted(self, sight: Sight) -> int:  # noqa: ARG002 -- it looks at nothing
        """Return the number."""
        return self.replicas


@dataclass(slots=True, kw_only=True)
class ByBacklog:
    """Our own rule, ``deployments.autoscaling``."""

    #: What the operator wants.
    aim: Aim
    every_s: float = LOOK_EVERY_S
    _needs: tuple[Need, ...] = ()

    @property
    def remembers_s(self) -> float:
        """Return for how long what was needed, and what ended, counts."""
        return max(self.aim.calm_s, RECENT_S)

    def wanted(self, sight: Sight) -> int:
        """Return the most that was needed within the calm time."""
        recent = [run for ended_s, run in sight.runs if ended_s > sight.now_s - RECENT_S][-MAX_RUNS:]
        backlog = Backlog(
            queued=sight.queued, running=sight.running, queued_units=sight.queued_units, runs=tuple(recent)
        )
        need = needed(backlog, aim=self.aim, units_per_s=speed(recent) or self.aim.units_per_s, up=sight.up)
        before = self._needs or (Need(at_s=sight.now_s, replicas=sight.target),)
        self._needs = remembered(before, Need(at_s=sight.now_s, replicas=need), calm_s=self.aim.calm_s)
        return wanted(self._needs)


@dataclass(slots=True, kw_only=True)
class ByCalls:
    """Ray Serve's usual policy: so many calls for each replica, after a delay.

    Every task that waits or runs counts as a call, which is what Serve would see if callers waited for their pictures.

    Source: Ray 2.60, "Advanced Ray Serve Autoscaling" and the fields of ``AutoscalingConfig``, seen 2026-11.
    """

    #: Calls that a replica should have.
    target_calls: float = 2.0
    #: Seconds for which more, and fewer, have to be wanted before anything is done.
    up_delay_s: float = 30.0
    down_delay_s: float = 600.0
    #: Seconds over which calls are averaged, and between two looks.
    look_back_s: float = 30.0
    every_s: float = 0.5
    _calls: deque[tuple[float, int]] = field(default_factory=deque)
    _sum: int = 0
    _since_s: float | None = None
    _direction: int = 0

    @property
    def remembers_s(self) -> float:
        """Return for how long calls count, and then what they made desired."""
        return self.look_back_s + max(self.up_delay_s, self.down_delay_s)

    def wanted(self, sight: Sight) -> int:
        """Return what Serve would."""
        calls = self._averaged(sight)
        if sight.up == 0:
            # What is on its way from nothing is waited for, whatever comes meanwhile.
            return max(1, sight.target) if calls > 0 else sight.target
        # Divided and multiplied as Serve does it, so that it rounds alike.
        desired = math.ceil(sight.up * (calls / (self.target_calls * sight.up)))
        return self.delayed(desired, target=sight.target, now_s=sight.now_s)

    def delayed(self, desired: int, *, target: int, now_s: float) -> int:
        """Return the present target until another was desired for long enough; the last one goes only after one."""
        direction = (desired > target) - (desired < target)
        if direction != self._direction:
            self._direction, self._since_s = direction, now_s if direction else None
        delay_s = self.up_delay_s if direction > 0 else self.down_delay_s
        if self._since_s is None or now_s - self._since_s + 1e-6 < delay_s:
            return target
        self._direction, self._since_s = 0, None
        return desired if direction > 0 or target == 1 else max(desired, 1)

    def _averaged(self, sight: Sight) -> float:
        calls = sight.queued + sight.running
        self._calls.append((sight.now_s, calls))
        self._sum += calls
        while self._calls[0][0] <= sight.now_s - self.look_back_s:
            self._sum -= self._calls.popleft()[1]
        return self._sum / len(self._calls)
