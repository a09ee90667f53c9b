"""What an order was worth: goodput, slowdowns, latencies, fairness, use of the device. Pure.

    slowdown    seconds from asking to the last picture over those that the request takes alone
    goodput     share of requests that end within three times their time alone, or within 2 s of that
    fairness    Jain's index over the tenants' mean speeds, a speed being 1 over a slowdown; 1 is even
    of bound    goodput over what no order can exceed; see ``bound``
    of reached  goodput over what one that knows the future reaches; see there, too

Whoever floods is in no figure of requests, and neither is who takes a request back: these are of those who stay.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.figures import evenness_of_means, percentile
from loadtest.scheduler.arrivals import NOISY, Arrival
from loadtest.scheduler.bound import Claim, Reach, reach
from loadtest.scheduler.device import VirtualDevice, work_of
from loadtest.scheduler.replica import Outcome, Replica, late_s, play
from models.cost import CostTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One trace, carried out in one order."""

    #: What became of every arrival.
    outcomes: Sequence[Outcome]
    #: The device afterwards.
    device: VirtualDevice


def played(arrivals: Sequence[Arrival], start: Callable[[CostTable], Replica], costs: CostTable) -> Played:
    """Carry out a trace on a fresh replica."""
    replica = start(costs)
    return Played(outcomes=play(arrivals, replica), device=replica.device)


def counts(arrival: Arrival) -> bool:
    """Say whether a request is in the figures."""
    return arrival.tenant != NOISY and arrival.cancel_at_s == math.inf


def reach_of(arrivals: Sequence[Arrival], costs: CostTable) -> Reach:
    """Bound how many requests of a trace can be in time, one picture at a time."""
    works = [(each, work_of(each, costs).total_s) for each in arrivals if counts(each)]
    return reach(
        [Claim(from_s=each.at_s, until_s=late_s(each, work_s), work_s=work_s) for each, work_s in works],
    )


def figures_of(runs: Sequence[Played], reaches: Sequence[Reach]) -> Mapping[str, float]:
    """Sum up one order on one kind of trace.

    Args:
        runs: one for each seed.
        reaches: of the same traces.
    """
    outcomes = [each for run in runs for each in run.outcomes if counts(each.arrival)]
    slowdowns, latencies = [each.slowdown for each in outcomes], [each.latency_s for each in outcomes]
    in_time = sum(each.is_in_time for each in outcomes)
    goodput = in_time / len(outcomes)
    figures = {
        "goodput": goodput,
        "goodput_error": standard_error(goodput, of=len(outcomes)),
        "of_bound": in_time / max(sum(each.at_most for each in reaches), 1.0),
        "of_reached": in_time / max(sum(each.at_least for each in reaches), 1),
        "slowdown_mean": statistics.fmean(slowdowns),
        **{f"slowdown_p{share}": percentile(slowdowns, share / 100) for share in (50, 95, 99)},
        "latency_mean_s": statistics.fmean(latencies),
        **{f"latency_p{share}_s": percentile(latencies, share / 100) for share in (50, 95, 99)},
        "fairness": jain(outcomes),
        **_use_of(runs),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def standard_error(share: float, *, of: int) -> float:
    """Return the standard error of a share of so many, as if each of them were drawn by itself."""
    return math.sqrt(share * (1 - share) / of)


def _use_of(runs: Sequence[Played]) -> Mapping[str, float]:
    all_s, idle_s = sum(run.device.now_s for run in runs), sum(run.device.idle_s for run in runs)
    pictures = sum(each.arrival.request.num_images for run in runs for each in run.outcomes if each.ended_s < math.inf)
    wasted_s = sum(
        run.device.spent_s.get(each.arrival.number, 0.0)
        for run in runs
        for each in run.outcomes
        if each.ended_s == math.inf
    )
    return {"busy": 1 - idle_s / all_s, "wasted": wasted_s / (all_s - idle_s), "pictures_per_s": pictures / all_s}


def jain(outcomes: Sequence[Outcome]) -> float:
    """Return Jain's index over the tenants' mean speeds."""
    speeds: dict[str, list[float]] = {}
    for each in outcomes:
        speeds.setdefault(each.arrival.tenant, []).append(1 / each.slowdown)
    return evenness_of_means(speeds)
