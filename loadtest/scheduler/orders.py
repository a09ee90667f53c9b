"""One device on a virtual clock: requests arrive, an order of steps decides, a cost table says how long each step took.

Nothing sleeps and nothing computes a picture; the order under test is the very code that an engine runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadtest.scheduler.arrivals import Arrival
from models.cost import CostTable, target_tokens, tokens_of
from models.policy import Accounts, Candidate, choose_group, urgency_s
from models.sample import ShapeKey


@dataclass(slots=True, kw_only=True)
class Job:
    """An arrived request and what is left of it."""

    #: What came in.
    arrival: Arrival
    #: What its pictures can step together with.
    shape: ShapeKey
    #: Seconds of one step alone, of everything, and of decoding one picture.
    step_s: float
    work_s: float
    decode_s: float
    #: Steps still to take, by picture.
    left: list[int]
    #: When its first step began and when its last picture was done, in seconds after the start.
    started_s: float | None = None
    ended_s: float = 0.0

    @property
    def slowdown(self) -> float:
        """How much longer it took than it would have alone."""
        return (self.ended_s - self.arrival.at_s) / self.work_s

    @property
    def is_in_time(self) -> bool:
        """Whether it ended within three times its time alone, or within 2 s of that."""
        return self.ended_s - self.arrival.at_s <= max(3 * self.work_s, self.work_s + 2) + 1e-9


#: Pictures that step together: the job, and which of its pictures.
Group = Sequence[tuple[Job, int]]


class Order(Protocol):
    """Decides what steps next; told of what came and what was stepped."""

    def join(self, job: Job) -> None:
        """Take note of a job that arrived."""
        ...

    def choose(self, jobs: Mapping[int, Job]) -> Group:
        """Choose pictures of one shape out of the jobs that are here, by number in the order of arrival."""
        ...

    def note(self, group: Group) -> None:
        """Take note of a step."""
        ...


class Fifo:
    """Requests run to their end in the order of arrival.

    Args:
        max_group: how many pictures of the first one's shape step together.
    """

    def __init__(self, *, max_group: int) -> None:
        self._max_group = max_group

    def join(self, job: Job) -> None:
        """Nothing is to be noted."""

    def choose(self, jobs: Mapping[int, Job]) -> Group:
        """Take the first job's pictures, and those of its likes."""
        shape = next(iter(jobs.values())).shape
        pictures = [(job, index) for job in jobs.values() if job.shape == shape for index in _open(job)]
        return pictures[: self._max_group]

    def note(self, group: Group) -> None:
        """Nothing is to be noted."""


class Turns:
    """Everything that is here advances evenly, as many together as may."""

    def __init__(self, *, max_group: int) -> None:
        self._max_group = max_group

    def join(self, job: Job) -> None:
        """Nothing is to be noted."""

    def choose(self, jobs: Mapping[int, Job]) -> Group:
        """Take the picture that has had the fewest steps, and its likes."""
        pictures = [(job, index) for job in jobs.values() for index in _open(job)]
        pictures.sort(key=lambda one: one[0].arrival.request.num_inference_steps - one[0].left[one[1]])
        return [one for one in pictures if one[0].shape == pictures[0][0].shape][: self._max_group]

    def note(self, group: Group) -> None:
        """Nothing is to be noted."""


class Ours:
    """``models.policy``, as the engine uses it."""

    def __init__(self, *, max_group: int) -> None:
        self._max_group = max_group
        self._accounts = Accounts()
        self._candidates: dict[int, list[Candidate]] = {}
        self._counts_from_s: dict[int, float] = {}

    def join(self, job: Job) -> None:
        """Enter the job into its tenant's account and judge how urgent it is."""
        arrival = job.arrival
        counts_from_s = self._accounts.arrive(arrival.tenant, arrived_s=arrival.at_s, work_s=job.work_s)
        self._counts_from_s[arrival.number] = counts_from_s
        self._judge(job)

    def choose(self, jobs: Mapping[int, Job]) -> Group:
        """Ask the policy."""
        waiting = [each for number in jobs for each in self._candidates[number]]
        chosen = choose_group(waiting, max_group=self._max_group)
        return [(jobs[int(each.request_id)], each.index) for each in chosen]

    def note(self, group: Group) -> None:
        """Judge anew what moved."""
        for job in {job.arrival.number: job for job, _ in group}.values():
            self._judge(job)

    def _judge(self, job: Job) -> None:
        left_s = sum(left * job.step_s + job.decode_s for left in job.left if left)
        urgent_s = urgency_s(self._counts_from_s[job.arrival.number], work_s=job.work_s, left_s=left_s)
        self._candidates[job.arrival.number] = [
            Candidate(
                request_id=str(job.arrival.number),
                index=index,
                shape=job.shape,
                rank=0,
                urgency_s=urgent_s,
            )
            for index in _open(job)
        ]


def run(arrivals: Sequence[Arrival], order: Order, *, costs: CostTable) -> list[Job]:
    """Carry out all arrivals; return them in the order in which they ended."""
    coming = [_job(arrival, costs) for arrival in reversed(arrivals)]
    here: dict[int, Job] = {}
    ended: list[Job] = []
    now_s = 0.0
    while coming or here:
        if not here:
            now_s = max(now_s, coming[-1].arrival.at_s)
        while coming and coming[-1].arrival.at_s <= now_s:
            job = coming.pop()
            here[job.arrival.number] = job
            order.join(job)
        now_s += _advance(order, here, now_s=now_s, costs=costs)
        for number in [number for number, job in here.items() if not any(job.left)]:
            here[number].ended_s = now_s
            ended.append(here.pop(number))
    return ended


def _advance(order: Order, here: Mapping[int, Job], *, now_s: float, costs: CostTable) -> float:
    """Take one step and decode what is denoised; return how long that took, in seconds."""
    group = order.choose(here)
    seconds = costs.step(_tokens(group[0][0]), rows=len(group)) / 1e3
    for job, index in group:
        job.started_s = now_s if job.started_s is None else job.started_s
        job.left[index] -= 1
        seconds += 0.0 if job.left[index] else job.decode_s
    order.note(group)
    return seconds


def _tokens(job: Job) -> int:
    return tokens_of(job.arrival.request)


def _open(job: Job) -> list[int]:
    return [index for index, left in enumerate(job.left) if left]


def _job(arrival: Arrival, costs: CostTable) -> Job:
    request = arrival.request
    tokens, target = tokens_of(request), target_tokens(request)
    return Job(
        arrival=arrival,
        shape=ShapeKey(model=request.model, target_tokens=target, reference_tokens=tokens - target, styles=0),
        step_s=costs.step(tokens) / 1e3,
        work_s=costs.request(request) / 1e3,
        decode_s=costs.decode(request.width * request.height) / 1e3,
        left=[request.num_inference_steps] * request.num_images,
    )


#: Every order that is compared, by what it is called in the table.
ORDERS: Mapping[str, Callable[[], Order]] = {
    "FIFO, one at a time": lambda: Fifo(max_group=1),
    "FIFO, batches of 8": lambda: Fifo(max_group=8),
    "all evenly, batches of 8": lambda: Turns(max_group=8),
    "ours, exact": lambda: Ours(max_group=1),
    "ours, batches of 8": lambda: Ours(max_group=8),
}
