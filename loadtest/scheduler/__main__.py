"""Which order of steps serves best? ``python -m loadtest.scheduler``: the real policy on a virtual clock.

One device, open-loop arrivals, and the cost table for a clock, beside orders that are written in the same few lines.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.figures import percentile
from loadtest.machine import commit, machine
from loadtest.scheduler.arrivals import NOISY, Arrival, noisy, poisson
from loadtest.scheduler.orders import ORDERS, Job, run
from models.cost import CostTable, cost_table
from models.policy import Candidate, choose_group
from models.sample import ShapeKey

#: Traces by name: what draws them, and the load.
TRACES: Mapping[str, tuple[Callable[..., list[Arrival]], float]] = {
    "Poisson, load 0.8": (poisson, 0.8),
    "Poisson, load 0.95": (poisson, 0.95),
    "calm, load 0.5": (poisson, 0.5),
    "the same and one that floods": (noisy, 0.5),
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/scheduler.json"),
    requests: Annotated[int, typer.Option(min=1)] = 400,
    seeds: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Run every order on every trace and print a table."""
    costs = cost_table()
    figures = [
        {"trace": trace, "order": order, **figures_of(jobs_of(trace, order, costs, requests=requests, seeds=seeds))}
        for trace in TRACES
        for order in ORDERS
    ]
    facts = {
        "benchmark": "scheduler",
        "commit": commit(),
        "machine": machine(),
        "costs": costs.device,
        "requests": requests,
        "seeds": seeds,
        "decision_us": {str(cap): decision_us(max_group=cap) for cap in (1, 8)},
        "figures": figures,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(markdown(facts))


def jobs_of(trace: str, order: str, costs: CostTable, *, requests: int, seeds: int) -> list[Job]:
    """Carry out a trace in an order, once for every seed; leave out whoever floods."""
    draw, load = TRACES[trace]
    drawn = [draw(costs, load=load, requests=requests, seed=seed) for seed in range(1, seeds + 1)]
    jobs = [job for arrivals in drawn for job in run(arrivals, ORDERS[order](), costs=costs)]
    return [job for job in jobs if job.arrival.tenant != NOISY]


def figures_of(jobs: Sequence[Job]) -> Mapping[str, float]:
    """Sum up how jobs fared: waits in seconds, slowdowns as multiples of the time alone."""
    waits = [(job.started_s or 0.0) - job.arrival.at_s for job in jobs]
    slowdowns = [job.slowdown for job in jobs]
    figures = {
        "wait_p50_s": percentile(waits, 0.5),
        "wait_p95_s": percentile(waits, 0.95),
        "slowdown_mean": statistics.fmean(slowdowns),
        "slowdown_p95": percentile(slowdowns, 0.95),
        "slowdown_p99": percentile(slowdowns, 0.99),
        "in_time": statistics.fmean(job.is_in_time for job in jobs),
        "fairness": jain(jobs),
    }
    return {name: round(value, 3) for name, value in figures.items()}


def jain(jobs: Sequence[Job]) -> float:
    """Return Jain's index over the tenants' mean speeds, a job's speed being 1 over its slowdown; 1 is even."""
    speeds: dict[str, list[float]] = {}
    for job in jobs:
        speeds.setdefault(job.arrival.tenant, []).append(1 / job.slowdown)
    means = [statistics.fmean(each) for each in speeds.values()]
    return sum(means) ** 2 / (len(means) * sum(mean**2 for mean in means))


def decision_us(*, max_group: int, samples: int = 1000, rounds: int = 200) -> float:
    """Return the median of microseconds of process time in which the policy chooses among a thousand samples."""
    draw = random.Random(1)  # noqa: S311 -- a load, not a secret
    shapes = [ShapeKey(model="uno", target_tokens=n, reference_tokens=0, styles=0) for n in (256, 1024, 4096)]
    waiting = [
        Candidate(request_id=str(n), index=0, shape=draw.choice(shapes), rank=0, urgency_s=draw.random())
        for n in range(samples)
    ]
    taken = []
    for _ in range(rounds):
        started = time.process_time_ns()
        choose_group(waiting, max_group=max_group)
        taken.append((time.process_time_ns() - started) / 1e3)
    return round(statistics.median(taken), 1)


def markdown(facts: Mapping[str, Any]) -> str:
    """Write the figures as a table."""
    names = list(facts["figures"][0])
    lines = [f"| {' | '.join(names)} |", f"| {' | '.join('---' for _ in names)} |"]
    lines += [f"| {' | '.join(str(row[name]) for name in names)} |" for row in facts["figures"]]
    return "\n".join([*lines, "", f"Decision among 1,000 samples, us by size of group: {facts['decision_us']}", ""])


if __name__ == "__main__":
    app()
