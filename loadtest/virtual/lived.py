"""What a virtual fleet is made of, what became of its work, and what it took. Values alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from loadtest.openloop.record import End
from loadtest.virtual.fair import Task
from loadtest.virtual.replica import Habits, Held, Replica
from loadtest.virtual.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a fleet is made of, and what befalls it."""

    #: How its replicas work.
    habits: Habits = field(default_factory=Habits)
    #: Replicas that are up at the start, and the bounds on how many there are.
    warm: int = 0
    least: int = 0
    most: int = 100_000
    #: Seconds from the wish for a replica until it can work.
    cold_s: float = 60.0
    #: Replicas of one node, which are lost together, and nodes lost per hour over the whole fleet.
    per_node: int = 8
    losses_per_h: float = 0.0
    #: Seconds that a lease lasts, and those in which a leaving replica may finish.
    lease_s: float = 20.0
    drain_s: float = 5.0
    #: Tasks of one tenant that may wait; more are refused.
    max_queued: int = 1000
    #: Tasks of one tenant that may run; None means any number.
    max_running: int | None = None
    #: Seconds for which a claim keeps all others waiting: claims take turns in one database.
    turn_s: float = 0.0
    #: From which losses are drawn.
    seed: int = 7


@dataclass(eq=False, slots=True, kw_only=True)
class Fate:
    """What became of one request."""

    #: What was asked for.
    work: Work
    #: When it was first claimed, and when it ended, in seconds after the start.
    started_s: float | None = None
    ended_s: float | None = None
    #: How.
    end: End = End.UNFINISHED
    #: Where it is worked on.
    on: tuple[Replica, Held] | None = None
    #: Its place in order.
    task: Task | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A fleet at one moment."""

    #: Seconds after the start.
    at_s: float
    #: Tasks that wait and that run.
    queued: int
    running: int
    #: Replicas that are up, and that there are to be.
    up: int
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What happened to a fleet and its work."""

    #: One for each request, in the order of arrival.
    fates: Sequence[Fate]
    #: One for each look of the scaling.
    moments: Sequence[Moment]
    #: Seconds until the last request ended.
    span_s: float
    #: Seconds for which nodes were taken, for which replicas were up, for which devices stepped, and for which replicas
    #: held anything.
    taken_s: float
    up_s: float
    busy_s: float
    holding_s: float
    #: How often the store was asked for what: accept, claim, claim in vain, finish, cancel, rescue, release.
    asked: Counter[str]
