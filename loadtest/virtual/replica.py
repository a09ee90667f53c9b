"""One replica of a virtual fleet: what it holds, what it steps, and what it would take on. Knows no queue.

The rules are those of ``deployments.replica``: it claims one more task when what it holds is about to end, and lets a
lower rank overtake what yields. So it seldom has a choice of what to step; where it has, ``models.policy`` chooses, as
in the engine. A task is stepped without a break until something comes or ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from deployments.replica.eagerness import POLITE_S
from deployments.replica.holding import MOST_OVERTAKEN
from deployments.tasks.claim import ANY_RANK
from loadtest.virtual.fair import Taken
from models.policy import Accounts, Candidate, choose_group, outlook_of
from models.sample import ShapeKey

#: A quarter of a millisecond: nothing on a device is shorter.
_INSTANT_S = 0.00025
#: Whatever it is: nothing shares a step here.
_SHAPE = ShapeKey(model="", target_tokens=0, reference_tokens=0, styles=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a replica goes about its work."""

    #: Tasks it holds at once.
    capacity: int = 4
    #: Seconds of stepping that it keeps in hand. Source: ``deployments.replica.limits``.
    ahead_s: float = 0.25
    #: Seconds for which a busy one leaves a task to those that are idle.
    polite_s: float = POLITE_S
    #: Seconds from a task's acceptance to its claim by an idle replica, 10 to 13 ms at the median of several runs.
    #: Source: docs/benchmarks/store.md, waking up.
    claim_s: float = 0.013
    #: Seconds from the claim until it can step: references are fetched and decoded.
    fetch_s: float = 0.0
    #: Seconds from the last step until the task has ended: pictures are encoded and placed.
    deliver_s: float = 0.0


@dataclass(eq=False, slots=True, kw_only=True)
class Held:
    """A task that a replica has claimed."""

    #: The claim.
    taken: Taken
    #: When it can step, in seconds after the start.
    ready_s: float
    #: Seconds of the device that it still needs.
    left_s: float
    #: Since when it counts as waiting; see ``Accounts``.
    counts_from_s: float
    #: How many tasks of a lower rank came after it and went before it.
    times_overtaken: int = 0

    @property
    def below_rank(self) -> int:
        """Below which rank a task may overtake this one."""
        yields = self.taken.yields and self.times_overtaken < MOST_OVERTAKEN
        return max(self.taken.rank - 1, 0) if yields else 0

    @property
    def candidate(self) -> Candidate:
        """Return what the policy is told of it."""
        work = self.taken.task.work
        left_s = min(self.left_s, work.device_s)
        outlook = outlook_of(self.counts_from_s, asked_s=work.at_s, work_s=work.device_s, left_s=left_s)
        return Candidate(request_id=str(work.number), samples=(0,), shape=_SHAPE, rank=self.taken.rank, **outlook)


@dataclass(eq=False, slots=True, kw_only=True)
class Replica:
    """A device and what it holds."""

    #: Counted over all that ever were.
    number: int
    #: On which node.
    node: int
    #: When its node was taken for it.
    since_s: float
    #: How it works.
    habits: Habits
    #: Since when its model is loaded; None means that it is not yet.
    up_since_s: float | None = None
    #: Whether it takes no more.
    is_leaving: bool = False
    #: What it works on.
    held: list[Held] = field(default_factory=list)
    #: What it has stepped and not delivered yet.
    delivering: list[Held] = field(default_factory=list)
    #: Until when what it holds is accounted for, and what has stepped since.
    settled_s: float = 0.0
    stepping: Held | None = None
    #: Grows with every change, so that what was foreseen before is known to be outdated.
    version: int = 0
    #: Seconds in which its device stepped.
    busy_s: float = 0.0
    #: How far tenants have reached into the time that is their own.
    accounts: Accounts = field(default_factory=Accounts)

    def __repr__(self) -> str:
        """Say how full it is."""
        return f"<Replica {self.number} [{len(self.held)} of {self.habits.capacity} tasks]>"

    @property
    def is_up(self) -> bool:
        """Whether it can work."""
        return self.up_since_s is not None

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing to step and nothing to deliver."""
        return not self.held and not self.delivering

    def hold(self, taken: Taken, *, claimed_s: float) -> Held:
        """Take on a task whose claim is committed at a moment, now or soon."""
        for other in self.held:
            if other.left_s > self.habits.ahead_s:
                other.times_overtaken += other.taken.rank > taken.rank
        work = taken.task.work
        held = Held(
            taken=taken,
            ready_s=claimed_s + self.habits.fetch_s,
            left_s=work.device_s,
            counts_from_s=self.accounts.arrive(work.tenant, arrived_s=work.at_s, work_s=work.device_s),
        )
        self.held.append(held)
        return held

    def settle(self, now_s: float) -> None:
        """Account for the time since the last change, and choose what steps from now on."""
        if self.stepping is not None:
            spent_s = now_s - self.settled_s
            self.stepping.left_s -= spent_s
            self.busy_s += spent_s
        self.settled_s = now_s
        ready = [held for held in self.held if held.ready_s <= now_s + _INSTANT_S]
        self.stepping = self._chosen(ready, now_s) if len(ready) > 1 else next(iter(ready), None)

    def stepped(self) -> list[Held]:
        """Let go of what needs no step any more; ``settle`` says what does not."""
        over = [held for held in self.held if held.left_s <= _INSTANT_S]
        if over:
            self.held = [held for held in self.held if held.left_s > _INSTANT_S]
            self.delivering += over
        return over

    def next_change_s(self) -> float:
        """Return the seconds until something comes, ends, or makes room, if nothing else happens."""
        soon = [held.ready_s - self.settled_s for held in self.held if held.ready_s > self.settled_s + _INSTANT_S]
        stepping, ahead_s = self.stepping, self.habits.ahead_s
        if stepping is not None:
            soon.append(stepping.left_s)
            ending_s = self._ending_s()
            if stepping.left_s > ahead_s + _INSTANT_S:
                soon.append(stepping.left_s - ahead_s)
            elif ending_s > ahead_s + _INSTANT_S:
                soon.append(ending_s - ahead_s)
        return max(min(soon, default=math.inf), 0.0)

    def below_rank(self) -> int:
        """Return which ranks there is room for; 0 means none. The rule of ``deployments.replica.replica``."""
        if not self.is_up or self.is_leaving or len(self.held) + len(self.delivering) >= self.habits.capacity:
            return 0
        soon_s, ending_s, rank = self.habits.ahead_s + _INSTANT_S, 0.0, ANY_RANK
        for held in self.held:
            if held.left_s <= soon_s:
                ending_s += held.left_s
            else:
                rank = min(rank, held.below_rank)
        return rank if ending_s <= soon_s else 0

    def going_on(self) -> list[Held]:
        """Return what is not about to end."""
        return [held for held in self.held if held.left_s > self.habits.ahead_s + _INSTANT_S]

    def _ending_s(self) -> float:
        return sum(held.left_s for held in self.held if held.left_s <= self.habits.ahead_s + _INSTANT_S)

    def _chosen(self, ready: Sequence[Held], now_s: float) -> Held:
        candidates = [held.candidate for held in ready]
        soon_s = self.habits.ahead_s + _INSTANT_S
        ending = {each.request_id for each, held in zip(candidates, ready, strict=True) if held.left_s <= soon_s}
        [(leader, _)] = choose_group(candidates, max_group=1, now_s=now_s, first=ending)
        return ready[candidates.index(leader)]
