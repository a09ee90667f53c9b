"""One replica on a virtual clock, and how arrivals go through it: what a plan for many replicas is built of, too.

    arrivals, cancels ──► admit, evict ──► advance, advance, advance … ──► outcomes

``EngineReplica`` is the real engine with the real policy before a device that only tells the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from loadtest.scheduler.arrivals import Arrival
from loadtest.scheduler.device import VirtualDevice, VirtualPipeline, work_of
from models.cost import CostTable
from models.engine import Engine
from models.policy import in_time_s
from models.resident import Standing, shared_part
from models.sample import ShapeKey
from models.sharing import Sharing


class Replica(Protocol):
    """Something that works off requests on a device of its own."""

    @property
    def device(self) -> VirtualDevice:
        """Return the device, which tells the time."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        ...

    def admit(self, arrival: Arrival) -> None:
        """Take a request that has come by now."""
        ...

    def evict(self, number: int) -> None:
        """Forget a request; one that is not there is no matter."""
        ...

    def advance(self) -> Sequence[int]:
        """Do the least that can be done without looking up, e.g. a step; return the numbers of what ended by it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one arrival."""

    #: What came in.
    arrival: Arrival
    #: Seconds that it takes alone.
    work_s: float
    #: When its last picture was done, in seconds after the start; never, where it was taken back before.
    ended_s: float

    @property
    def latency_s(self) -> float:
        """Seconds from asking to the last picture."""
        return self.ended_s - self.arrival.at_s

    @property
    def slowdown(self) -> float:
        """How many times longer it took than it would have alone."""
        return self.latency_s / self.work_s

    @property
    def is_in_time(self) -> bool:
        """Whether it ended before it was late."""
        return self.ended_s <= late_s(self.arrival, self.work_s) + 1e-9


def late_s(arrival: Arrival, work_s: float) -> float:
    """Return when a request is late: at three times its time alone, and never within 2 s of that."""
    return arrival.at_s + in_time_s(work_s)


class EngineReplica:
    """The real engine, which sees all that waits."""

    def __init__(
        self, costs: CostTable, *, max_group: int = 1, shared: Callable[[ShapeKey], float] | None = None
    ) -> None:
        """Start an engine.

        Args:
            costs: how long everything takes on the device.
            max_group: as for the engine.
            shared: as for the engine; None: as a replica has it.
        """
        self._device = VirtualDevice(costs)
        self._pipeline = VirtualPipeline(self._device)
        shared = shared or partial(shared_part, costs=costs)
        self._engine = Engine(
            {"uno": self._pipeline}, sharing=Sharing(max_group), shared=shared, costs=costs, clock=self._device
        )

    @property
    def device(self) -> VirtualDevice:
        """Return the device."""
        return self._device

    @property
    def is_idle(self) -> bool:
        """Whether the engine is."""
        return self._engine.is_idle

    def admit(self, arrival: Arrival) -> None:
        """Admit a request to the engine, which encodes its prompt at once."""
        self._pipeline.expect(arrival)
        standing = Standing(tenant=arrival.tenant, waited_s=self._device.now_s - arrival.at_s)
        self._engine.admit(str(arrival.number), arrival.request, [], standing=standing)

    def evict(self, number: int) -> None:
        """Let the engine forget a request."""
        self._engine.evict(str(number))

    def advance(self) -> Sequence[int]:
        """Take one step, and decode a picture at most."""
        report = self._engine.step()
        if report.failed:
            raise next(iter(report.failed.values()))
        return [int(request_id) for request_id in report.finished]


def play(arrivals: Sequence[Arrival], replica: Replica) -> list[Outcome]:
    """Carry out all arrivals, open loop; return what became of each, in the order in which they came."""
    cancels = [(each.cancel_at_s, each) for each in arrivals if each.cancel_at_s < math.inf]
    coming = sorted([*((each.at_s, each) for each in arrivals), *cancels], key=lambda one: one[0], reverse=True)
    ended_s: dict[int, float] = {}
    device = replica.device
    while coming or not replica.is_idle:
        if replica.is_idle:
            device.wait_until(coming[-1][0])
        while coming and coming[-1][0] <= device.now_s:
            _tell(replica, *coming.pop())
        if not replica.is_idle:
            ended_s |= dict.fromkeys(replica.advance(), device.now_s)
    return [
        Outcome(arrival=each, work_s=work_of(each, device.costs).total_s, ended_s=ended_s.get(each.number, math.inf))
        for each in arrivals
    ]


def _tell(replica: Replica, at_s: float, arrival: Arrival) -> None:
    if at_s == arrival.at_s:
        replica.admit(arrival)
    else:
        replica.evict(arrival.number)
