"""Other constants of the policy on the same device: what the usual ones were chosen by. Pure.

What concerns one picture at a time is tried without an engine, what concerns groups with the real one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from loadtest.scheduler.arrivals import MIXES, Arrival, arrivals_of
from loadtest.scheduler.device import VirtualDevice
from loadtest.scheduler.measures import Played, figures_of, played
from loadtest.scheduler.orders import MAX_GROUP, Group, Job, Jobs, OrderedReplica
from loadtest.scheduler.replica import EngineReplica, Replica
from models.cost import CostTable
from models.policy import MARGIN, SHARE, USUAL, Accounts, Candidate, Weights, choose_group, outlook_of
from models.resident import shared_part

#: Where constants are compared.
TRACES = (
    "Poisson, load 0.8",
    "Poisson, load 0.95",
    "bursts, load 0.8",
    "four pictures each, load 0.8",
    "calm, load 0.5",
    "calm and one that floods",
)
#: What is tried in place of the usual constant, one at a time.
RUSHES, POSTPONINGS, SHARES = (15.0, 60.0, 120.0), (0.0, 30.0, 120.0, 400.0), (2.0, 4.0, 8.0)
#: The same in groups; with infinity no stranger shares a call. Where small pictures all wait, sharing does most.
MARGINS, MARGIN_TRACES = (1.0, 2.0, 8.0, math.inf), (*TRACES, "small only, all at once")


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
        waiting = [self._candidate(job) for job in jobs.values()]
        [(chosen, index)] = choose_group(waiting, max_group=1, now_s=self._device.now_s)
        return [(jobs[int(chosen.request_id)], index)]

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
        return Candidate(request_id=str(arrival.number), samples=tuple(job.left), shape=job.shape, rank=0, **outlook)


def policy_replica(costs: CostTable, *, weights: Weights = USUAL, share: float = SHARE) -> OrderedReplica:
    """Start a replica that follows the policy with some constants."""
    device = VirtualDevice(costs)
    return OrderedReplica(device, Policy(device, weights=weights, share=share))


def tuned(costs: CostTable, *, requests: int, seeds: Sequence[int]) -> Sequence[Mapping[str, Any]]:
    """Play every trace with the usual constants, and with each of them changed."""
    drawn = _drawn(TRACES, costs, requests=requests, seeds=seeds)
    return [
        {
            "rush": weights.rush,
            "postponing": weights.postponing,
            "share": share,
            "traces": _told(drawn, costs, partial(policy_replica, weights=weights, share=share)),
        }
        for weights, share in _tries()
    ]


def tuned_margins(costs: CostTable, *, requests: int, seeds: Sequence[int]) -> Sequence[Mapping[str, Any]]:
    """Play every trace in groups with the usual margin for strangers, and with others."""
    drawn = _drawn(MARGIN_TRACES, costs, requests=requests, seeds=seeds)
    return [
        {"margin": f"{margin:g}", "traces": _told(drawn, costs, partial(margin_replica, margin=margin))}
        for margin in (MARGIN, *MARGINS)
    ]


def margin_replica(costs: CostTable, *, margin: float) -> EngineReplica:
    """Start an engine that steps in groups and asks so much of strangers."""
    # The policy has room for a part of the share that calls have in common; so another part of it is another margin.
    return EngineReplica(costs, max_group=MAX_GROUP, shared=lambda shape: shared_part(shape, costs) * MARGIN / margin)


def _tries() -> Iterator[tuple[Weights, float]]:
    yield USUAL, SHARE
    yield from ((Weights(rush=rush, postponing=USUAL.postponing), SHARE) for rush in RUSHES)
    yield from ((Weights(rush=USUAL.rush, postponing=postponing), SHARE) for postponing in POSTPONINGS)
    yield from ((USUAL, share) for share in SHARES)


def _drawn(
    names: Sequence[str], costs: CostTable, *, requests: int, seeds: Sequence[int]
) -> Mapping[str, Sequence[Sequence[Arrival]]]:
    return {
        name: [arrivals_of(MIXES[name], costs=costs, requests=requests, seed=seed) for seed in seeds] for name in names
    }


def _told(
    drawn: Mapping[str, Sequence[Sequence[Arrival]]], costs: CostTable, start: Callable[[CostTable], Replica]
) -> Mapping[str, str]:
    return {name: _figures([played(trace, start, costs) for trace in traces]) for name, traces in drawn.items()}


def _figures(runs: Sequence[Played]) -> str:
    found = figures_of(runs, [])
    slow = "; ".join(f"{found[figure]:.3g}" for figure in ("slowdown_mean", "slowdown_p95", "slowdown_p99"))
    return f"{found['goodput']:.3f}; {slow}"
