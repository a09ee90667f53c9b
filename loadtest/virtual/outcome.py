"""From what happened to a virtual fleet to figures: latency, waits, fairness, hours of GPUs and their price. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from loadtest.figures import evenness_of_means, percentile
from loadtest.openloop.findings import percentiles
from loadtest.openloop.record import End
from loadtest.openloop.slo import Goal, Verdict
from loadtest.virtual.lived import Fate, Lived, Moment
from models.policy import in_time_s

#: Points of a plot.
POINTS = 120
#: Ends of good requests that are errors.
ERRORS = frozenset({End.REFUSED, End.FAILED, End.UNFINISHED})


def figures(lived: Lived, *, gpu_hour: float, poll_s: float = 0.0) -> dict[str, Any]:
    """Sum a story up.

    Args:
        lived: what happened.
        gpu_hour: the price of a GPU for an hour.
        poll_s: how often callers look for their pictures; 0 means that they are told.
    """
    made = [fate for fate in lived.fates if fate.end is End.SUCCEEDED]
    images = sum(fate.work.images for fate in made)
    hours = lived.taken_s / 3600
    return {
        "requests": len(lived.fates),
        "images": images,
        "per_s": _rounded(len(made) / lived.span_s if lived.span_s else 0.0),
        "latency_s": percentiles(latencies_of(lived.fates, poll_s=poll_s)),
        "wait_s": percentiles([each.started_s - each.work.at_s for each in made if each.started_s is not None]),
        "in_time": _rounded(goodput(lived.fates)),
        "error_share": _rounded(error_share(lived.fates)),
        "fairness": _rounded(jain(made)),
        "replicas_mean": _rounded(lived.taken_s / lived.span_s if lived.span_s else 0.0),
        "replicas_most": max((moment.target for moment in lived.moments), default=0),
        "changes": sum(earlier.target != later.target for earlier, later in pairwise(lived.moments)),
        "busy": _rounded(lived.busy_s / lived.taken_s if lived.taken_s else 0.0),
        "gpu_hours": _rounded(hours),
        "per_1000_images": _rounded(hours * gpu_hour / images * 1000) if images else None,
    }


def verdicts(goals: Sequence[Goal], lived: Lived, *, poll_s: float = 0.0) -> list[Verdict]:
    """Judge a fleet by goals; one that had nothing to do meets them all."""
    latencies = sorted(latencies_of(lived.fates, poll_s=poll_s))
    return [
        Verdict(
            goal=goal,
            found=error_share(lived.fates)
            if goal.rank is None
            else (percentile(latencies, goal.rank) if latencies else 0.0),
        )
        for goal in goals
    ]


def latencies_of(fates: Sequence[Fate], *, poll_s: float) -> list[float]:
    """Return seconds from asking to seeing the pictures; what never ended counts as infinite."""
    ended = [_seen_s((fate.ended_s or 0.0) - fate.work.at_s, poll_s) for fate in fates if fate.end is End.SUCCEEDED]
    return [*ended, *[math.inf] * sum(fate.end is End.UNFINISHED for fate in fates)]


def error_share(fates: Sequence[Fate]) -> float:
    """Return how many of all requests did not become what they should have."""
    return sum(fate.end in ERRORS for fate in fates) / len(fates) if fates else 0.0


def goodput(fates: Sequence[Fate]) -> float:
    """Return which share of what was not taken back ended in time, as the order promises it."""
    asked = [fate for fate in fates if fate.end is not End.CANCELLED]
    return sum(_is_in_time(fate) for fate in asked) / len(asked) if asked else 1.0


def jain(made: Sequence[Fate]) -> float:
    """Return Jain's index over the tenants' mean speeds: the time alone over the time from asking to the end."""
    speeds: dict[str, list[float]] = {}
    for fate in made:
        speeds.setdefault(fate.work.tenant, []).append(fate.work.device_s / _latency_s(fate))
    return evenness_of_means(speeds)


def series(lived: Lived) -> Mapping[str, Sequence[float]]:
    """Return the fleet over time, as a plot can show it: between two of its looks nothing changes."""
    moments = _evenly(lived.moments)
    return {
        "at_s": [round(moment.at_s, 1) for moment in moments],
        **{name: [getattr(moment, name) for moment in moments] for name in ("queued", "running", "up", "target")},
    }


def _evenly(moments: Sequence[Moment]) -> list[Moment]:
    """Return as many moments as a plot has points, the same seconds apart: each as the look before it was."""
    if len(moments) < 2:
        return list(moments)
    began_s, span_s = moments[0].at_s, moments[-1].at_s - moments[0].at_s
    times = [began_s + span_s * number / (POINTS - 1) for number in range(POINTS - 1)]
    seen = [moments[bisect_right(moments, at_s, key=lambda moment: moment.at_s) - 1] for at_s in times]
    return [*(replace(moment, at_s=at_s) for moment, at_s in zip(seen, times, strict=True)), moments[-1]]


def _is_in_time(fate: Fate) -> bool:
    return fate.end is End.SUCCEEDED and _latency_s(fate) <= in_time_s(fate.work.device_s)


def _latency_s(fate: Fate) -> float:
    return (fate.ended_s or 0.0) - fate.work.at_s


def _seen_s(latency_s: float, poll_s: float) -> float:
    return math.ceil(latency_s / poll_s) * poll_s if poll_s else latency_s


def _rounded(value: float) -> float:
    return round(value, 4)
