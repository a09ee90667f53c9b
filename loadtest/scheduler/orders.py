"""Orders that others use, on the same device as the engine: what ours is held against.

An order only says which pictures step next; ``OrderedReplica`` does the rest for each of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Protocol

from loadtest.scheduler.arrivals import Arrival
from loadtest.scheduler.device import VirtualDevice, Work, shape_of, work_of
from loadtest.scheduler.replica import EngineReplica, Replica
from models.cost import CostTable
from models.sample import ShapeKey

#: How many pictures share a call where an order shares calls at all; for how many seconds a window stays open.
MAX_GROUP, WINDOW_S = 8, 0.05


@dataclass(slots=True, kw_only=True)
class Job:
    """A request that is here, and what is left of it."""

    #: What came in.
    arrival: Arrival
    #: What its pictures can step together with.
    shape: ShapeKey
    #: What it takes alone.
    work: Work
    #: Steps still to take, by the number of the picture; what has none left is gone.
    left: dict[int, int] = field(default_factory=dict)

    @property
    def left_s(self) -> float:
        """Seconds of work that are left."""
        return sum(steps * self.work.step_s + self.work.decode_s for steps in self.left.values())


#: Pictures that step together: the job, and which of its pictures.
Group = Sequence[tuple[Job, int]]
#: What is here, by number, in the order of arrival.
Jobs = Mapping[int, Job]


class Order(Protocol):
    """Decides what steps next."""

    #: Seconds for which a request waits for company.
    window_s: float

    def choose(self, jobs: Jobs) -> Group:
        """Choose at least one picture, all of one shape."""
        ...


class Fifo:
    """Requests run to their end in the order of arrival; pictures of the same shape may join at any step.

    This is step-level batching by the first unfinished request's key, as open engines have it; with one at a time,
    it is plain first come, first served.
    """

    window_s = 0.0

    def __init__(self, *, max_group: int) -> None:
        self._max_group = max_group

    def choose(self, jobs: Jobs) -> Group:
        """Take the first job's pictures, and those of its likes."""
        shape = next(iter(jobs.values())).shape
        return list(islice(_pictures(jobs, shape), self._max_group))


class Windowed:
    """Whole requests of one shape and one number of steps run together, as a batching decorator makes them.

    What came too late for a batch waits until all of it has ended; what is taken back meanwhile runs on and ends.
    """

    window_s = WINDOW_S

    def __init__(self, *, max_group: int) -> None:
        self._max_group = max_group
        self._batch: list[Job] = []

    def choose(self, jobs: Jobs) -> Group:
        """Go on with the batch, or form one of the first job and its likes."""
        self._batch = [job for job in self._batch if job.left] or self._formed(list(jobs.values()))
        return [(job, index) for job in self._batch for index in job.left][: self._max_group]

    def _formed(self, jobs: Sequence[Job]) -> list[Job]:
        def key(job: Job) -> tuple[ShapeKey, int]:
            return job.shape, job.arrival.request.num_inference_steps

        alike = [job for job in jobs if key(job) == key(jobs[0])]
        room = [sum(len(each.left) for each in alike[: number + 1]) for number in range(len(alike))]
        return [job for job, taken in zip(alike, room, strict=True) if taken <= self._max_group]


class RoundRobin:
    """Everything that is here advances in turn, as many together as may: in small steps, processor sharing."""

    window_s = 0.0

    def __init__(self, *, max_group: int) -> None:
        self._max_group = max_group
        self._turn = 0
        self._stepped: dict[tuple[int, int], int] = {}

    def choose(self, jobs: Jobs) -> Group:
        """Take the picture whose last step is the longest ago, and those of its likes that waited longest."""
        self._turn += 1
        by_turn = sorted(_pictures(jobs), key=lambda one: self._stepped.get((one[0].arrival.number, one[1]), 0))
        shape = by_turn[0][0].shape
        group = list(islice((one for one in by_turn if one[0].shape == shape), self._max_group))
        self._stepped |= {(job.arrival.number, index): self._turn for job, index in group}
        return group


class ShortestFirst:
    """What has the least work left goes first, by true times: no order has a lower mean latency on one device.

    Source: L. Schrage, A proof of the optimality of the shortest remaining processing time discipline, 1968.
    """

    window_s = 0.0

    def choose(self, jobs: Jobs) -> Group:
        """Take the next picture of the job with the least left."""
        job = min(jobs.values(), key=lambda each: each.left_s)
        return [(job, next(iter(job.left)))]


class OrderedReplica:
    """Does what an order says."""

    def __init__(self, device: VirtualDevice, order: Order) -> None:
        self._device = device
        self._order = order
        self._jobs: dict[int, Job] = {}

    @property
    def device(self) -> VirtualDevice:
        """Return the device."""
        return self._device

    @property
    def is_idle(self) -> bool:
        """Whether nothing is here."""
        return not self._jobs

    def admit(self, arrival: Arrival) -> None:
        """Encode a request and make it wait."""
        work, request = work_of(arrival, self._device.costs), arrival.request
        self._device.work(work.encode_s, numbers=[arrival.number])
        left = dict.fromkeys(range(request.num_images), request.num_inference_steps)
        self._jobs[arrival.number] = Job(arrival=arrival, shape=shape_of(request), work=work, left=left)

    def evict(self, number: int) -> None:
        """Forget a request."""
        self._jobs.pop(number, None)

    def advance(self) -> Sequence[int]:
        """Wait while a window is open, or take one step and decode what is denoised."""
        opened_s = next(iter(self._jobs.values())).arrival.at_s
        if self._device.now_s < opened_s + self._order.window_s:
            self._device.wait_until(opened_s + self._order.window_s)
            return []
        group = self._order.choose(self._jobs)
        self._device.step([job.arrival for job, _ in group])
        for job, index in group:
            job.left[index] -= 1
            if not job.left[index]:
                del job.left[index]
                self._device.work(job.work.decode_s, numbers=[job.arrival.number])
        ended = [job.arrival.number for job, _ in group if not job.left]
        for number in ended:
            self._jobs.pop(number, None)
        return list(dict.fromkeys(ended))


def _pictures(jobs: Jobs, shape: ShapeKey | None = None) -> Iterator[tuple[Job, int]]:
    return ((job, index) for job in jobs.values() if shape in {None, job.shape} for index in job.left)


#: First come, first served: what every other order is compared with.
FIFO = "FIFO"
#: Ours, as it is set up unless an operator says otherwise.
OURS = "ours, exact"
#: By true times: the bound on the mean.
SHORTEST = "clairvoyant shortest first"
#: Those that step one picture at a time, which is what ``bound`` counts on.
ONE_AT_A_TIME = frozenset({FIFO, OURS, SHORTEST})
#: Every order by name: what makes a replica that follows it.
ORDERS: Mapping[str, Callable[[CostTable], Replica]] = MappingProxyType(
    {
        FIFO: lambda costs: OrderedReplica(VirtualDevice(costs), Fifo(max_group=1)),
        "windowed same shape, 8": lambda costs: OrderedReplica(VirtualDevice(costs), Windowed(max_group=MAX_GROUP)),
        "same shape by step, 8": lambda costs: OrderedReplica(VirtualDevice(costs), Fifo(max_group=MAX_GROUP)),
        "processor sharing, 8": lambda costs: OrderedReplica(VirtualDevice(costs), RoundRobin(max_group=MAX_GROUP)),
        OURS: EngineReplica,
        "ours, groups of 8": lambda costs: EngineReplica(costs, max_group=MAX_GROUP),
        SHORTEST: lambda costs: OrderedReplica(VirtualDevice(costs), ShortestFirst()),
    }
)
