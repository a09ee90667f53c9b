"""What a replica knows of the tasks it works on, and which others it has room for."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployments.replica.eagerness import POLITE_S
from deployments.tasks.claim import ANY_RANK, NO_RESTRAINT, Restraint
from deployments.tasks.task import Beat, Claim, Output
from deployments.tasks.waterfall import Part
from deployments.telemetry.laps import CHECK, DELIVER, ENCODE, Laps
from models.resident import Stage, Standing, Stretch

if TYPE_CHECKING:
    import asyncio

    from deployments.delivering import Delivered

#: The parts that the device says itself.
_STAGES = {Part.PREPARING: Stage.PREPARING, Part.STEPPING: Stage.STEPPING, Part.DECODING: Stage.DECODING}

#: How often one task is overtaken at most: what is accepted makes way, and does not starve.
MOST_OVERTAKEN = 10


@dataclass(eq=False, slots=True, kw_only=True)
class Held:
    """A claim that a replica works on; the same task claimed again is another one."""

    #: What was claimed.
    claim: Claim
    #: When, by the monotonic clock.
    since_s: float
    #: Seconds that the device has worked on it, once it is done; what it did for several at once is shared among them.
    device_s: float = 0.0
    #: When its references were there, by the same clock.
    fetched_s: float | None = None
    #: When the device was done with it.
    drawn_s: float | None = None
    #: What was done for it here, and when.
    laps: Laps = field(default_factory=Laps)
    #: Steps taken so far over all pictures.
    steps_done: int = 0
    #: How many claims of a lower rank came after it and went before it.
    times_overtaken: int = 0
    #: What our sinks have of it by now.
    placed: list[Output] = field(default_factory=list)
    #: Whether it was found to be another replica's, or nobody's.
    is_lost: bool = False
    #: Whether its end is being written down: whether it was still ours is what that says.
    is_closing: bool = False
    #: Takes its pictures out, once they are drawn.
    delivery: asyncio.Task[Delivered] | None = None

    @property
    def task_id(self) -> str:
        """Name the task."""
        return self.claim.task.id

    @property
    def fence(self) -> int:
        """Return the number that outdates whoever held the task before."""
        return self.claim.task.fence

    @property
    def is_at_the_engine(self) -> bool:
        """Whether the device has or will have to do with it: its references are there, and its pictures are not."""
        return self.fetched_s is not None and self.drawn_s is None

    @property
    def steps_left(self) -> int:
        """Return how many steps are still to be taken, over all pictures."""
        return self.claim.task.steps_total - self.steps_done

    @property
    def beat(self) -> Beat:
        """Return the sign of life that tells how far it is."""
        return Beat(task_id=self.task_id, fence=self.fence, steps_done=self.steps_done)

    @property
    def standing(self) -> Standing:
        """Say how the engine is to treat it among others."""
        task = self.claim.task
        waited_s = ((task.started_at or task.created_at) - task.created_at).total_seconds()
        return Standing(rank=self.claim.rank, tenant=task.tenant_id, waited_s=waited_s)

    @property
    def below_rank(self) -> int:
        """Below which rank a task may overtake this one: its tenant has two fewer running, or it may not."""
        yields = self.claim.yields and self.times_overtaken < MOST_OVERTAKEN
        return max(self.claim.rank - 1, 0) if yields else 0

    def let_off(self, stretches: Mapping[Stage, Stretch]) -> None:
        """Note that the device is done with it, and what that did for it."""
        self.drawn_s = time.monotonic()
        self.device_s = sum(stretch.share_s for stretch in stretches.values())
        self.laps.by_name |= {str(stage): stretch for stage, stretch in stretches.items()}

    @property
    def spent(self) -> Mapping[Part, float]:
        """Return the seconds of each part of it up to now, as they were measured; what is nobody's is in none."""
        now_s = time.monotonic()
        if self.fetched_s is None:
            return {Part.FETCHING: now_s - self.since_s}
        drawn_s = self.drawn_s or now_s
        stages = {part: self.laps.seconds(stage) for part, stage in _STAGES.items()}
        return stages | {
            Part.FETCHING: self.fetched_s - self.since_s,
            Part.WAITING: max(drawn_s - self.fetched_s - sum(stages.values()), 0.0),
            Part.CHECKING: self.laps.seconds(CHECK),
            Part.ENCODING: self.laps.seconds(ENCODE),
            Part.DELIVERING: self.laps.seconds(DELIVER),
        }

    @property
    def spent_ms(self) -> int:
        """Return for how long it has been held, in milliseconds."""
        return round((time.monotonic() - self.since_s) * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is left to step of all that a replica holds."""

    #: What it holds.
    held: Collection[Held]
    #: Seconds that a step takes; 0 while nobody knows.
    step_s: float
    #: Seconds of stepping that it keeps in hand.
    ahead_s: float
    #: Seconds for which it leaves what is new to idle replicas.
    polite_s: float = POLITE_S

    @property
    def unfinished(self) -> list[Held]:
        """Return what has steps left."""
        return [held for held in self.held if held.steps_left]

    @property
    def ending(self) -> list[Held]:
        """Return what is about to end: overtaken now, it would be again and again, each time for a whole task."""
        return [held for held in self.unfinished if self.step_s * held.steps_left <= self.ahead_s]

    @property
    def going_on(self) -> list[Held]:
        """Return what is not."""
        return [held for held in self.unfinished if self.step_s * held.steps_left > self.ahead_s]

    @property
    def restraint(self) -> Restraint:
        """Say what is left to others: nothing while there is no step left."""
        if not self.unfinished:
            return NO_RESTRAINT
        rank = self.below_rank
        # No tenant gains by overtaking itself; its begun tasks would only pile up.
        not_of = {held.claim.task.tenant_id for held in self.going_on} if rank < ANY_RANK else ()
        return Restraint(below_rank=rank, not_of=not_of, waited_s=self.polite_s)

    @property
    def room(self) -> int:
        """Say how much there is room for: the ranks, or more than any where nothing is left to others.

        Whose tasks are left out may change while this does not; who waits then asks again by itself after a while.
        """
        return self.below_rank if self.unfinished else ANY_RANK + 1

    @property
    def below_rank(self) -> int:
        """Say which ranks there is room for: any while little is left to step, or else what may overtake the rest.

        Nothing overtakes what is about to end, so only what is beyond that has a say. Before the first step nobody
        knows how long one takes, and one task is enough: a replica that starts into a flood would fill up with it.
        """
        if not self.step_s and self.unfinished:
            return 0
        if self.step_s * sum(held.steps_left for held in self.ending) > self.ahead_s:
            return 0
        return min((held.below_rank for held in self.going_on), default=ANY_RANK)
