"""Replicas that come, pull, step, end and are lost, event by event, on a clock that costs nothing.

    arrive ──► wait in fair order ──► claimed ──► step ──► deliver ──► ended
                        ▲                 └─ the node is lost, or it is told to leave: wait again
                        └─────────────────────┘

Everybody who decides is the code of the service or is held against it by a test; what takes time is the cost table's.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any

from deployments.tasks.backlog import MAX_RUNS, Run
from deployments.tasks.claim import ANY_RANK
from loadtest.openloop.record import End
from loadtest.virtual.fair import FairOrder, Taken
from loadtest.virtual.lived import Fate, Lived, Moment, Setting
from loadtest.virtual.replica import Held, Replica
from loadtest.virtual.scaling import Scaling, Sight
from loadtest.virtual.work import Work

#: How often a task is tried. Source: ``deployments.tasks.store``, rescue.
MAX_ATTEMPTS = 3
#: Seconds after the last arrival at which what has no end is given up.
GIVE_UP_S = 4 * 3600.0
#: What stands for idle replicas among those that wait: before every rank that a busy one would take.
_IDLE = ANY_RANK + 1


def live(works: Sequence[Work], setting: Setting, scaling: Scaling) -> Lived:
    """Let work come to a fleet until all of it has ended."""
    return _Fleet(setting, scaling).live(works)


class _Fleet:
    """The events; each does one thing and says when the next is due."""

    def __init__(self, setting: Setting, scaling: Scaling) -> None:
        self._setting, self._habits, self._scaling = setting, setting.habits, scaling
        self._draw = random.Random(setting.seed)  # noqa: S311 -- a load, not a secret
        self._now = self._turn_free_s = self._taken_s = self._busy_s = self._holding_s = self._up_s = 0.0
        self._events: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count, self._numbers = count(), count()
        self._running: dict[str, int] = {}
        self._running_all = 0
        self._orders: dict[str, FairOrder] = {}
        self._turns: deque[str] = deque()
        self._replicas: dict[Replica, None] = {}
        self._waiting: dict[int, dict[Replica, None]] = {}
        self._waits_as: dict[Replica, int] = {}
        self._held_since: dict[Replica, float] = {}
        self._fates: list[Fate] = []
        self._open = 0
        self._runs: deque[tuple[float, Run]] = deque(maxlen=MAX_RUNS)
        self._moments: list[Moment] = []
        self._asked: Counter[str] = Counter()
        self._target, self._stirred_s = setting.warm, 0.0

    def live(self, works: Sequence[Work]) -> Lived:
        self._fates = [Fate(work=work) for work in works]
        self._open = len(works)
        for _ in range(self._setting.warm):
            self._come_up(self._start())
        self._at(0.0, self._look)
        self._at(0.0, self._lose)
        self._expect(0)
        give_up_s = (works[-1].at_s if works else 0.0) + GIVE_UP_S
        while self._open and self._now < give_up_s:
            self._now, _, happen, args = heappop(self._events)
            if happen != self._look:
                self._stirred_s = self._now
            happen(*args)
        span_s = self._now
        for replica in list(self._replicas):
            self._stop(replica)
        return self._lived(span_s)

    def _lived(self, span_s: float) -> Lived:
        return Lived(
            fates=self._fates,
            moments=self._moments,
            span_s=span_s,
            taken_s=self._taken_s,
            up_s=self._up_s,
            busy_s=self._busy_s,
            holding_s=self._holding_s,
            asked=self._asked,
        )

    def _at(self, when_s: float, event: Callable[..., object], *args: object) -> None:
        heappush(self._events, (when_s, next(self._count), event, args))

    # Work comes, waits, is taken back, and ends.

    def _expect(self, number: int) -> None:
        if number < len(self._fates):
            self._at(self._fates[number].work.at_s, self._arrive, number)

    def _arrive(self, number: int) -> None:
        self._expect(number + 1)
        fate = self._fates[number]
        work, order = fate.work, self._order_of(fate.work.model)
        self._asked["accept"] += 1
        if order.queued_of(work.tenant) >= self._setting.max_queued:
            self._end(fate, End.REFUSED)
            return
        fate.task = order.accept(work)
        if work.cancel_after_s is not None:
            self._at(self._now + work.cancel_after_s, self._cancel, fate)
        self._offer()

    def _order_of(self, model: str) -> FairOrder:
        if model not in self._orders:
            self._orders[model] = FairOrder(self._running, max_running=self._setting.max_running)
            self._turns.append(model)
        return self._orders[model]

    def _cancel(self, fate: Fate) -> None:
        if fate.ended_s is not None or fate.task is None:
            return
        if fate.task.is_queued:
            self._orders[fate.work.model].remove(fate.task)
        elif fate.on is not None and fate.on[1] in fate.on[0].held:
            replica, held = fate.on
            replica.settle(self._now)
            replica.held.remove(held)
            self._leave_running(fate.work)
            self._go_on(replica)
        else:  # its pictures are made, or its replica was lost: too late
            return
        self._asked["cancel"] += 1
        self._end(fate, End.CANCELLED)

    def _end(self, fate: Fate, end: End) -> None:
        fate.ended_s, fate.end, fate.on = self._now, end, None
        self._open -= 1

    def _finish(self, replica: Replica, held: Held) -> None:
        if replica not in self._replicas or held not in replica.delivering:
            return
        replica.delivering.remove(held)
        fate = self._fate_of(held)
        self._asked["finish"] += 1
        self._runs.append((self._now, Run(units=fate.work.units, device_s=fate.work.device_s)))
        self._leave_running(fate.work)
        self._end(fate, End.SUCCEEDED)
        self._note_emptied(replica)
        if replica in self._replicas:
            self._ask_soon(replica)
        if self._waiting_tasks():  # its tenant may be allowed more now
            self._offer()

    def _fate_of(self, held: Held) -> Fate:
        return self._fates[held.taken.task.work.number]

    def _leave_running(self, work: Work) -> None:
        self._running[work.tenant] -= 1
        self._running_all -= 1

    def _waiting_tasks(self) -> int:
        return sum(order.queued for order in self._orders.values())

    # Replicas ask, hold and step.

    def _offer(self) -> None:
        """Wake one replica for what has just come: an idle one, or else soon a busy one."""
        idle = self._waiting.get(_IDLE)
        if idle:
            self._ask(next(iter(idle)))
        elif self._waits_as:
            self._at(self._now + self._habits.polite_s, self._offer_to_busy)

    def _offer_to_busy(self) -> None:
        ranks = [rank for rank, waiting in self._waiting.items() if waiting and rank != _IDLE]
        if ranks:  # what whoever would take most does not take, nobody takes
            self._ask(next(iter(self._waiting[max(ranks)])))

    def _ask(self, replica: Replica, version: int | None = None) -> None:
        """Let a replica claim one task; when there is none, it waits."""
        if replica not in self._replicas or version not in {None, replica.version}:
            return
        replica.settle(self._now)
        below_rank = replica.below_rank()
        if not below_rank:
            return
        taken = self._take(replica, below_rank)
        if taken is None:
            self._asked["claim in vain"] += 1
            self._wait(replica, below_rank if replica.held else _IDLE)
        else:
            self._hold(replica, taken)

    def _take(self, replica: Replica, below_rank: int) -> Taken | None:
        going_on = replica.going_on() if below_rank < ANY_RANK else []
        not_of = {held.taken.task.work.tenant for held in going_on}
        self._turns.rotate(1)
        for model in self._turns:
            taken = self._orders[model].take(below_rank=below_rank, not_of=not_of)
            if taken is not None:
                return taken
        return None

    def _hold(self, replica: Replica, taken: Taken) -> None:
        self._asked["claim"] += 1
        # A claim keeps the others waiting until it is committed.
        self._turn_free_s = max(self._now, self._turn_free_s) + self._setting.turn_s
        claimed_s = max(self._now + self._habits.claim_s, self._turn_free_s)
        self._running_all += 1
        self._held_since.setdefault(replica, self._now)
        held = replica.hold(taken, claimed_s=claimed_s)
        fate = self._fate_of(held)
        fate.on = (replica, held)
        fate.started_s = claimed_s if fate.started_s is None else fate.started_s
        self._go_on(replica)

    def _wait(self, replica: Replica, rank: int) -> None:
        self._wait_no_more(replica)
        self._waits_as[replica] = rank
        self._waiting.setdefault(rank, {})[replica] = None

    def _wait_no_more(self, replica: Replica) -> None:
        rank = self._waits_as.pop(replica, None)
        if rank is not None:
            del self._waiting[rank][replica]

    def _go_on(self, replica: Replica) -> None:
        """Account for a replica's time, send on what is stepped, and foresee its next change."""
        self._wait_no_more(replica)
        replica.settle(self._now)
        stepped = replica.stepped()
        for held in stepped:
            self._at(self._now + self._habits.deliver_s, self._finish, replica, held)
        if stepped:
            replica.settle(self._now)
        replica.version += 1
        change_s = replica.next_change_s()
        if change_s < math.inf:
            self._at(self._now + change_s, self._change, replica, replica.version)
        self._note_emptied(replica)
        if replica in self._replicas:
            self._ask_soon(replica)

    def _change(self, replica: Replica, version: int) -> None:
        if replica in self._replicas and version == replica.version:
            self._go_on(replica)

    def _ask_soon(self, replica: Replica) -> None:
        """Ask at once, unless it is busy and another is idle; then after that one."""
        below_rank = 0 if replica in self._waits_as else replica.below_rank()
        if not below_rank:
            return
        if not self._waiting_tasks():
            self._wait(replica, below_rank if replica.held else _IDLE)
        elif replica.held and self._waiting.get(_IDLE):
            self._at(self._now + self._habits.polite_s, self._ask, replica, replica.version)
        else:
            self._ask(replica)

    # Replicas come, leave and are lost.

    def _look(self) -> None:
        up = sum(replica.is_up for replica in self._replicas)
        staying = [replica for replica in self._replicas if not replica.is_leaving]
        waiting = self._waiting_tasks()
        sight = Sight(
            now_s=self._now,
            queued=waiting,
            running=self._running_all,
            queued_units=sum(order.queued_units for order in self._orders.values()),
            runs=self._runs,
            up=up,
            target=self._target,
        )
        before, wanted = self._target, self._scaling.wanted(sight)
        self._target = min(max(wanted, self._setting.least), self._setting.most)
        if waiting or self._running_all or not before == self._target == up == len(self._replicas):
            self._stirred_s = self._now
        self._moments.append(
            Moment(at_s=self._now, queued=waiting, running=self._running_all, up=up, target=self._target)
        )
        for _ in range(self._target - len(staying)):
            self._at(self._now + self._setting.cold_s, self._come_up, self._start())
        for replica in sorted(staying, key=_readiness_to_leave)[: max(len(staying) - self._target, 0)]:
            self._leave(replica)
        self._at(self._now + self._scaling.every_s * self._looks_ahead(), self._look)

    def _looks_ahead(self) -> int:
        """Return how many looks further the next one is that may see, or remember, anything."""
        remembers_s = self._scaling.remembers_s
        if not self._events or self._now - self._stirred_s <= remembers_s:
            return 1
        # In time to forget what was before, as if all that are left out had been taken.
        return max(int((self._events[0][0] - remembers_s - self._now) / self._scaling.every_s), 1)

    def _start(self) -> Replica:
        number = next(self._numbers)
        node = number // self._setting.per_node
        replica = Replica(number=number, node=node, since_s=self._now, habits=self._habits)
        self._replicas[replica] = None
        return replica

    def _come_up(self, replica: Replica) -> None:
        if replica in self._replicas:
            replica.up_since_s = replica.settled_s = self._now
            self._ask_soon(replica)

    def _leave(self, replica: Replica) -> None:
        replica.is_leaving = True
        self._wait_no_more(replica)
        if replica.is_empty:
            self._stop(replica)
        else:
            self._at(self._now + self._setting.drain_s, self._cut, replica)

    def _cut(self, replica: Replica) -> None:
        """Let go of a replica that had its time to finish; what it holds goes back at once."""
        if replica in self._replicas:
            replica.settle(self._now)
            handed_back = [*replica.held, *replica.delivering]
            self._stop(replica)
            for held in handed_back:
                self._asked["release"] += 1
                held.taken.task.attempt -= 1
                self._put_back(self._fate_of(held))

    def _lose(self) -> None:
        """Lose a node, from the second call on, and say when the next is lost."""
        if self._setting.losses_per_h:
            if self._now and self._replicas:
                node = self._draw.choice(list(self._replicas)).node
                for replica in [each for each in self._replicas if each.node == node]:
                    self._lose_replica(replica)
            self._at(self._now + self._draw.expovariate(self._setting.losses_per_h / 3600), self._lose)

    def _lose_replica(self, replica: Replica) -> None:
        replica.settle(self._now)
        lost = [*replica.held, *replica.delivering]
        self._stop(replica)
        for held in lost:
            # The last beat was up to a quarter of the lease ago, and the rescue looks once a second.
            expires_s = self._setting.lease_s * self._draw.uniform(0.75, 1) + self._draw.random()
            fate = self._fate_of(held)
            fate.on = None
            self._at(self._now + expires_s, self._rescue, fate)

    def _rescue(self, fate: Fate) -> None:
        self._asked["rescue"] += 1
        if fate.task is not None and fate.task.attempt >= MAX_ATTEMPTS:
            self._leave_running(fate.work)
            self._end(fate, End.FAILED)
        else:
            self._put_back(fate)

    def _put_back(self, fate: Fate) -> None:
        self._leave_running(fate.work)
        fate.on = None
        if fate.task is not None:
            self._orders[fate.work.model].put_back(fate.task)
        self._offer()

    def _stop(self, replica: Replica) -> None:
        self._wait_no_more(replica)
        replica.settle(self._now)
        del self._replicas[replica]
        self._taken_s += self._now - replica.since_s
        self._busy_s += replica.busy_s
        self._up_s += 0.0 if replica.up_since_s is None else self._now - replica.up_since_s
        self._holding_s += self._now - self._held_since.pop(replica, self._now)

    def _note_emptied(self, replica: Replica) -> None:
        if replica.is_empty:
            self._holding_s += self._now - self._held_since.pop(replica, self._now)
            if replica.is_leaving and replica in self._replicas:
                self._stop(replica)


def _readiness_to_leave(replica: Replica) -> tuple[bool, int, int]:
    """Sort by who is missed least: what is not up yet, what holds nothing, and the newest."""
    return replica.is_up, len(replica.held) + len(replica.delivering), -replica.number
