"""Other constants of the policy on the same device, without an engine: what the usual ones were chosen by. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtest.scheduler.arrivals import MIXES, Arrival, arrivals_of
from loadtest.scheduler.device import VirtualDevice
from loadtest.scheduler.measures import figures_of, played, reach_of
from loadtest.scheduler.orders import Group, Job, Jobs, OrderedReplica
from models.cost import CostTable
from models.policy import SHARE, USUAL, Accounts, Candidate, Weights, choose_group, outlook_of

#: Where constants are compared.
TRACES = (
    "Poisson, load 0.8",
    "Poisson, load 0.95",
    "bursts, load 0.8",
    "calm, load 0.5",
    "calm and one that floods",
)
#: What is tried in place of the usual constant, one at a time.
RUSHES, POSTPONINGS, SHARES = (15.0, 30.0, 120.0), (0.0, 30.0, 400.0), (2.0, 8.0)


class Policy:
    """``models.policy``, one picture at a time: with the usual constants, it plays as the engine does."""

    window_s = 0.0

    def __init__(self, device: VirtualDevice, *, weights: Weights = USUAL, share: float = SHARE) -> None:
        self._device = device
        self._weights = weights
        self._accounts = Accounts(share=share)
        self._counts_from_s: dict[int, float] = {}

    def choose(self, jobs: Jobs) -> Group:
        """Ask the policy."""
        [chosen] = choose_group([self._candidate(job) for job in jobs.values()], max_group=1, now_s=self._device.now_s)
        job = jobs[int(chosen.request_id)]
        return [(job, next(iter(job.left)))]

    def _candidate(self, job: Job) -> Candidate:
        arrival = job.arrival
        # What the cost table says, which is all that an engine knows.
        work_s, left_s = job.work.total_s / arrival.error, job.left_s / arrival.error
        if arrival.number not in self._counts_from_s:
            counts_from_s = self._accounts.arrive(arrival.tenant, arrived_s=arrival.at_s, work_s=work_s)
            self._counts_from_s[arrival.number] = counts_from_s
        outlook = outlook_of(
            self._counts_from_s[arrival.number],
            asked_s=arrival.at_s,
            work_s=work_s,
            left_s=left_s,
            weights=self._weights,
        )
        return Candidate(request_id=str(arrival.number), index=0, shape=job.shape, rank=0, **outlook)


def policy_replica(costs: CostTable, *, weights: Weights = USUAL, share: float = SHARE) -> OrderedReplica:
    """Start a replica that follows the policy with some constants."""
    device = VirtualDevice(costs)
    return OrderedReplica(device, Policy(device, weights=weights, share=share))


def tuned(costs: CostTable, *, requests: int, seeds: Sequence[int]) -> Sequence[Mapping[str, Any]]:
    """Play every trace with the usual constants, and with each of them changed."""
    drawn = {
        name: [arrivals_of(MIXES[name], costs=costs, requests=requests, seed=seed) for seed in seeds] for name in TRACES
    }
    return [
        {
            "rush": weights.rush,
            "postponing": weights.postponing,
            "share": share,
            "traces": {name: _told(traces, costs, weights, share) for name, traces in drawn.items()},
        }
        for weights, share in _tries()
    ]


def _tries() -> Iterator[tuple[Weights, float]]:
    yield USUAL, SHARE
    yield from ((Weights(rush=rush, postponing=USUAL.postponing), SHARE) for rush in RUSHES)
    yield from ((Weights(rush=USUAL.rush, postponing=postponing), SHARE) for postponing in POSTPONINGS)
    yield from ((USUAL, share) for share in SHARES)


def _told(traces: Sequence[Sequence[Arrival]], costs: CostTable, weights: Weights, share: float) -> str:
    runs = [played(trace, lambda table: policy_replica(table, weights=weights, share=share), costs) for trace in traces]
    found = figures_of(runs, [reach_of(trace, costs) for trace in traces])
    return f"{found['goodput']:.3f}; {found['slowdown_mean']:.2f}; {found['slowdown_p95']:.1f}"
