"""Who scales better? ``python -m loadtest.autoscaling``: our rule and Ray Serve's usual policy, on a virtual clock.

The same bursts and the same cold starts for all; the rule is ``deployments.autoscaling`` itself. What counts is how
long callers wait, and how many hours of GPUs that takes.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from deployments.autoscaling import Aim
from loadtest.figures import markdown
from loadtest.findings import write_findings
from loadtest.machine import commit
from loadtest.openloop.due import orders_of
from loadtest.openloop.profile import Burst, Profile
from loadtest.traces.synthetic import synthetic
from loadtest.virtual.fleet import live
from loadtest.virtual.lived import Setting
from loadtest.virtual.outcome import figures
from loadtest.virtual.scaling import ByBacklog, ByCalls, Fixed, Scaling
from loadtest.virtual.work import Work, works_of
from models.cost import UNIT_TOKENS, CostTable, cost_table

#: Seconds until a new replica can work.
COLD_S = 60.0
#: What is shown of every rule, and how.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "wait p50 s": ("wait_s", "p50"),
    "wait p95 s": ("wait_s", "p95"),
    "latency p95 s": ("latency_s", "p95"),
    "in time": ("in_time",),
    "GPU hours": ("gpu_hours",),
    "busy": ("busy",),
    "most replicas": ("replicas_most",),
    "changes": ("changes",),
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/autoscaling.json"),
    hours: Annotated[float, typer.Option(min=0.01)] = 2.0,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    """Let every rule live through every trace, and print a table."""
    costs = cost_table()
    found = []
    for trace, draw in TRACES.items():
        drawn = [works_of(orders_of(draw(hours * 3600, seed)), costs) for seed in range(1, seeds + 1)]
        for name, rule in rules(costs).items():
            figures_by_seed = [_figures(works, rule()) for works in drawn]
            found.append({"trace": trace, "rule": name, **middle_of(figures_by_seed)})
    facts = {
        "benchmark": "autoscaling",
        "commit": commit(),
        "command": " ".join(["python -m loadtest.autoscaling", *sys.argv[1:]]),
        "costs": costs.device,
        "cold_s": COLD_S,
        "hours": hours,
        "seeds": seeds,
        "figures": found,
    }
    write_findings(output, facts)
    for trace in TRACES:
        rows = [row_of(each) for each in found if each["trace"] == trace]
        sys.stdout.write(f"{trace}\n\n{markdown([['rule', *COLUMNS], *rows])}\n\n")


def bursts(seconds: float, seed: int) -> Profile:
    """Return bursts of five times the calm, as in the synthetic trace; two requests a second on average."""
    return synthetic(rate=2.0, seconds=seconds, tenants=30, seed=seed, is_bursty=True)


def lonely_bursts(seconds: float, seed: int) -> Profile:
    """Return bursts with nothing between them for about twenty minutes."""
    profile = synthetic(rate=1.0, seconds=seconds, tenants=30, seed=seed, is_bursty=True)
    rare = Burst(kind="burst", rate=1e-4, peak=2.0, calm_s=1200.0, peak_s=120.0)
    return profile.model_copy(update={"arrivals": rare})


#: What comes: seconds and seed in, a profile out.
TRACES: Mapping[str, Callable[[float, int], Profile]] = {
    "bursts of five times the calm": bursts,
    "bursts with nothing between": lonely_bursts,
}


def rules(costs: CostTable) -> Mapping[str, Callable[[], Scaling]]:
    """Return every rule by what it is called, to be made anew for each story.

    With a capacity of 4 ours believes that four tasks that run need one replica; with 1, that each needs its own.
    """
    # Until it has measured, ours believes what an operator can know of the device.
    aim = partial(Aim, units_per_s=1e3 / costs.step(UNIT_TOKENS))
    ours = {
        f"ours, wait {wait:g} s, capacity {capacity}": partial(_ours, aim(wait_s=wait, capacity=capacity))
        for capacity in (4, 1)
        for wait in (30.0, 10.0, 5.0)
    }
    serves = {f"Serve's, {calls:g} calls": partial(ByCalls, target_calls=calls) for calls in (4.0, 2.0, 1.0)}
    return {**ours, **serves, "30 replicas, always": partial(Fixed, replicas=30)}


def middle_of(figures_by_seed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the median over the seeds of every column; None where it never ended."""
    middles = {name: statistics.median(_at(each, path) for each in figures_by_seed) for name, path in COLUMNS.items()}
    return {name: round(middle, 3) if math.isfinite(middle) else None for name, middle in middles.items()}


def row_of(found: Mapping[str, Any]) -> list[str]:
    """Write one line of a table."""
    return [found["rule"], *("-" if found[name] is None else f"{found[name]:.4g}" for name in COLUMNS)]


def _ours(aim: Aim) -> Scaling:
    return ByBacklog(aim=aim)


def _figures(works: Sequence[Work], rule: Scaling) -> Mapping[str, Any]:
    warm = rule.replicas if isinstance(rule, Fixed) else 0
    return figures(live(works, Setting(warm=warm, cold_s=COLD_S), rule), gpu_hour=0.0)


def _at(found: Mapping[str, Any], path: Sequence[str]) -> float:
    value: Any = found
    for name in path:
        value = value[name]
    # What never ended is later than anything.
    return float("inf") if value is None else float(value)


if __name__ == "__main__":
    app()
