"""Which order of steps serves best? ``python -m loadtest.scheduler``: the real engine and policy on a virtual clock.

Open-loop arrivals, one device, and the cost table for a clock; beside orders that others use, on the same device, and
what nobody could exceed. Constants are chosen on some seeds and reported on others.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.findings import write_findings
from loadtest.machine import commit, machine
from loadtest.scheduler.aims import aims_of
from loadtest.scheduler.arrivals import MIXES, arrivals_of
from loadtest.scheduler.decisions import decisions
from loadtest.scheduler.figure import slowdown_by_load
from loadtest.scheduler.measures import figures_of, played, reach_of
from loadtest.scheduler.orders import ORDERS
from loadtest.scheduler.page import page as written
from loadtest.scheduler.page import tables, tuning_tables
from loadtest.scheduler.tuning import tuned, tuned_margins
from models.cost import CostTable, cost_table

#: The first of the seeds on which constants are chosen, and the first of those on which they are reported.
TRAINING, HELD_OUT = 101, 501

#: Where the figures of this repository lie.
DOCUMENTS = Path("docs/benchmarks")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/scheduler.json"),
    requests: Annotated[int, typer.Option(min=1)] = 400,
    seeds: Annotated[int, typer.Option(min=1)] = 4,
) -> None:
    """Run every order on every trace and print tables."""
    if context.invoked_subcommand:
        return
    numbers = range(HELD_OUT, HELD_OUT + seeds)
    facts: dict[str, Any] = {
        "benchmark": "scheduler",
        "command": f"python -m loadtest.scheduler --requests {requests} --seeds {seeds}",
        "commit": commit(),
        "machine": machine(),
        "costs": cost_table().device,
        "requests": requests,
        "seeds": list(numbers),
        "decisions": decisions(),
        "traces": dict(_traces(cost_table(), requests=requests, seeds=numbers)),
    }
    facts["aims"] = aims_of(facts["traces"], decision_us=facts["decisions"]["us"])
    write_findings(output, facts)
    sys.stdout.write(tables(facts))


@app.command()
def tune(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/scheduler_tuning.json"),
    requests: Annotated[int, typer.Option(min=1)] = 400,
    seeds: Annotated[int, typer.Option(min=1)] = 4,
) -> None:
    """Try other constants of the policy, on seeds of their own, and print a table."""
    facts = {
        "benchmark": "scheduler tuning",
        "command": f"python -m loadtest.scheduler tune --requests {requests} --seeds {seeds}",
        "commit": commit(),
        "machine": machine(),
        "requests": requests,
        "seeds": list(range(TRAINING, TRAINING + seeds)),
        "rows": tuned(cost_table(), requests=requests, seeds=range(TRAINING, TRAINING + seeds)),
        "margins": tuned_margins(cost_table(), requests=requests, seeds=range(TRAINING, TRAINING + seeds)),
    }
    write_findings(output, facts)
    sys.stdout.write(tuning_tables(facts))


@app.command(name="decisions")
def time_decisions(
    *, figures: Annotated[Path, typer.Option(help="What the benchmark wrote.")] = DOCUMENTS / "scheduler.json"
) -> None:
    """Time decisions anew, which alone depend on the machine, and put them into what the benchmark wrote before."""
    facts = json.loads(figures.read_text(encoding="utf-8"))
    facts["decisions"] = decisions()
    facts["aims"] = aims_of(facts["traces"], decision_us=facts["decisions"]["us"])
    write_findings(figures, facts)
    sys.stdout.write(f"{facts['decisions']['us']}\n")


@app.command()
def page(
    *,
    figures: Annotated[Path, typer.Option(help="What the benchmark wrote.")] = DOCUMENTS / "scheduler.json",
    tuning: Annotated[Path, typer.Option(help="What tune wrote.")] = DOCUMENTS / "scheduler_tuning.json",
    output: Annotated[Path, typer.Option(help="Folder for the page and its figure.")] = DOCUMENTS,
) -> None:
    """Write the page and its figure anew from the JSON files."""
    facts, tried = (json.loads(path.read_text(encoding="utf-8")) for path in (figures, tuning))
    (output / "scheduler.md").write_text(written(facts, tried), encoding="utf-8")
    (output / "scheduler.svg").write_text(slowdown_by_load(facts["traces"]), encoding="utf-8")


def _traces(costs: CostTable, *, requests: int, seeds: Sequence[int]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in MIXES:
        yield name, compared(name, costs, requests=requests, seeds=seeds)
        sys.stderr.write(f"{name}\n")


def compared(name: str, costs: CostTable, *, requests: int, seeds: Sequence[int]) -> Mapping[str, Any]:
    """Carry out one kind of trace in every order; return the figures of each, and how far anybody could get."""
    traces = [arrivals_of(MIXES[name], costs=costs, requests=requests, seed=seed) for seed in seeds]
    reaches = [reach_of(trace, costs) for trace in traces]
    return {
        "load": MIXES[name].load,
        "bound": round(statistics.fmean(each.at_most / each.of for each in reaches), 4),
        "reached": round(statistics.fmean(each.at_least / each.of for each in reaches), 4),
        "orders": {
            order: figures_of([played(trace, start, costs) for trace in traces], reaches)
            for order, start in ORDERS.items()
        },
    }


if __name__ == "__main__":
    app()
