"""What the engine's order promises, and whether the figures keep it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtest.scheduler.orders import FIFO, OURS

#: Least share of requests in time, by trace.
GOODPUT = {"Poisson, load 0.8": 0.92, "Poisson, load 0.95": 0.85, "bursts, load 0.8": 0.80}
#: Least share of what nobody could exceed, and of what one that knows the future reaches.
OF_BOUND = 0.97
#: Most of first come, first served's mean slowdown and latency, and least of its throughput.
OF_FIFO_MEAN, OF_FIFO_THROUGHPUT = 0.75, 0.99
#: How many times as much the others' p95 slowdown may be while one floods.
INFLATION = 1.2
CALM, FLOODED = "calm, load 0.5", "calm and one that floods"
#: Fairness at least, where the load is 0.8.
FAIRNESS = 0.98
#: Microseconds at most to choose among a thousand.
DECISION, DECISION_US = "µs for a decision among 1,000", 200.0
#: What is counted of goodput, with the standard error of each.
GOODPUT_AIM, BOUND_AIM, REACHED_AIM = "goodput", "goodput / bound", "goodput / who knows the future"

Traces = Mapping[str, Mapping[str, Any]]
#: What is promised of which trace, what came out, its standard error, and the least and the most that it may be.
Aim = Mapping[str, Any]


def aims_of(traces: Traces, *, decision_us: Mapping[str, float]) -> Sequence[Aim]:
    """Hold the figures against every aim, also where the cost table is off.

    Args:
        traces: their figures by name.
        decision_us: microseconds of a decision, by the way of deciding.
    """
    found = [aim for name in traces for aim in _of_one(name, traces[name])]
    found += [_growth(traces, name) for name in traces if name.startswith(FLOODED)]
    decisions = [_aim(f"{DECISION}, {way}", "", taken, most=DECISION_US) for way, taken in decision_us.items()]
    return [*found, *decisions]


def _growth(traces: Traces, flooded: str) -> Aim:
    """Hold a flood against the same calm without it, with estimates as good as its own."""
    calm = flooded.replace(FLOODED, CALM)
    p95, calm_p95 = (traces[name]["orders"][OURS]["slowdown_p95"] for name in (flooded, calm))
    return _aim("growth of the others' p95 slowdown", flooded, p95 / calm_p95, most=INFLATION)


def _of_one(name: str, trace: Mapping[str, Any]) -> Iterator[Aim]:
    ours, fifo = trace["orders"][OURS], trace["orders"][FIFO]
    plain = name.partition(", estimates")[0]
    if plain in GOODPUT:
        yield _aim(GOODPUT_AIM, name, ours["goodput"], least=GOODPUT[plain], error=ours["goodput_error"])
        # The error of the share that both ratios are made of; what they are held against has none.
        for what, figure, whole in ((BOUND_AIM, "of_bound", "bound"), (REACHED_AIM, "of_reached", "reached")):
            yield _aim(what, name, ours[figure], least=OF_BOUND, error=ours["goodput_error"] / (trace[whole] or 1.0))
        for figure in ("slowdown_mean", "latency_mean_s"):
            yield _aim(f"{figure} / FIFO's", name, ours[figure] / fifo[figure], most=OF_FIFO_MEAN)
    if plain == "Poisson, load 0.8":
        yield _aim("fairness", name, ours["fairness"], least=FAIRNESS)
    yield _aim("slowdown_p99 / FIFO's", name, ours["slowdown_p99"] / fifo["slowdown_p99"], most=1.0)
    yield _aim("throughput / FIFO's", name, ours["pictures_per_s"] / fifo["pictures_per_s"], least=OF_FIFO_THROUGHPUT)


def _aim(
    what: str,
    trace: str,
    value: float,
    *,
    least: float | None = None,
    most: float | None = None,
    error: float | None = None,
) -> Aim:
    return {
        "aim": what,
        "trace": trace,
        "value": round(value, 4),
        "error": None if error is None else round(error, 4),
        "least": least,
        "most": most,
        "is_met": (least is None or value >= least) and (most is None or value <= most),
    }
