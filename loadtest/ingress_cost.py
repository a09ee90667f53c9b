"""What does our HTTP side cost? Measures it beside a bare Ray Serve echo, with and without HAProxy, in one run.

    start 4 servers ──► warm up ──► rounds of every operation at every target ──► stop ──► JSON and tables

The targets take turns inside each round, so whatever else the machine does falls on all of them. Nothing carries out
tasks: every submission stays queued in a database that is thrown away at the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from deployments.clock import utc_now
from deployments.tasks.store import TaskStore
from loadtest import figures
from loadtest.figures import Cell
from loadtest.findings import write_findings
from loadtest.machine import commit, machine
from loadtest.server import PORTS_PER_SERVER, Plan, echo_config, our_config, serving
from loadtest.targets import (
    KEY,
    OPERATIONS,
    TENANT,
    HttpTarget,
    StoreTarget,
    Target,
    first_task,
    idle_cores,
    let_pile_up,
    measure,
)

#: Seconds of load before the first round at each target and operation, not counted.
WARM_UP_S = 0.5
#: Seconds in which nobody calls, to see what the servers use by themselves.
IDLE_S = 4.0
#: Characters that the widest table needs.
TABLE_WIDTH = 150

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@app.command()
def ingress_cost(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/ingress_cost.json"),
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Load per operation, target and round.")] = 3.0,
    port: Annotated[int, typer.Option(help="First of the 1200 ports that the servers use.")] = 18200,
    markdown: Annotated[Path | None, typer.Option(help="Print the tables of this JSON and measure nothing.")] = None,
) -> None:
    """Measure what our HTTP side costs beside a bare Ray Serve echo."""
    if markdown is not None:
        print_markdown(json.loads(markdown.read_text(encoding="utf-8")))
        return
    facts = facts_of_run(rounds=rounds, seconds=seconds)
    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output and not under /tmp: that may be memory, where a durable commit costs nothing.
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        idle, cells = asyncio.run(run(Path(folder).resolve(), rounds=rounds, seconds=seconds, port=port))
    report = figures.to_json(cells, facts | {"idle_cores": idle})
    write_findings(output, report)
    print_tables(cells)
    console.print(f"written to {output}")


def facts_of_run(*, rounds: int, seconds: float) -> dict[str, Any]:
    """Return what a reader needs to know of a run before its figures."""
    return {
        "benchmark": "ingress_cost",
        "measured_at": utc_now().isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", "loadtest.ingress_cost", *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(),
        "rounds": rounds,
        "seconds_per_cell": seconds,
    }


async def run(folder: Path, *, rounds: int, seconds: float, port: int) -> tuple[dict[str, float], list[Cell]]:
    """Start everything, measure it, and stop it.

    Returns:
        What each server uses when nobody calls, in cores; and every measurement.
    """
    with tempfile.TemporaryDirectory(prefix="uxo-") as sockets:
        async with all_targets(folder, sockets=Path(sockets), port=port) as targets:
            console.print("  warming up")
            for operation in OPERATIONS:
                for target in targets:
                    await measure(target, operation, round_=0, seconds=WARM_UP_S, idle_cores=0.0)
            console.print("  watching the servers idle")
            idle = await idle_cores(targets, seconds=IDLE_S)
            cells: list[Cell] = []
            for round_ in range(1, rounds + 1):
                cells += await measure_round(targets, round_=round_, seconds=seconds, idle=idle)
            console.print("  stopping")
    return idle, cells


async def measure_round(
    targets: Sequence[Target], *, round_: int, seconds: float, idle: dict[str, float]
) -> list[Cell]:
    """Measure every operation at every target once."""
    cells = []
    for operation in OPERATIONS:
        for target in targets:
            cell = await measure(target, operation, round_=round_, seconds=seconds, idle_cores=idle[target.name])
            console.print(
                f"  round {round_}  {operation.title:16} {target.name:13} {cell.per_s:8.1f}/s "
                f"p50 {cell.p50_ms:7.2f} ms  CPU {cell.cpu_ms:6.2f} ms"
            )
            cells.append(cell)
    return cells


@asynccontextmanager
async def all_targets(folder: Path, *, sockets: Path, port: int) -> AsyncIterator[Sequence[Target]]:
    """Run the four servers and open a store, for the length of an ``async with`` block."""
    async with AsyncExitStack() as stack:
        targets: list[Target] = []
        for plan in plans(folder, sockets=sockets, port=port):
            console.print(f"  starting {plan.name}")
            pid = stack.enter_context(serving(plan))
            if plan.name.startswith("uxo"):
                await let_pile_up(f"sqlite:///{plan.folder / 'uxo.db'}")
            targets.append(HttpTarget(name=plan.name, port=plan.port, pid=pid, task_id=await first_task(plan.port)))
        alone = f"sqlite:///{folder / 'store-alone.db'}"
        await let_pile_up(alone)
        store = await TaskStore.open(alone)
        stack.push_async_callback(store.close)
        yield [*targets, StoreTarget(store=store)]


def plans(folder: Path, *, sockets: Path, port: int) -> list[Plan]:
    """Return how to run the four servers."""
    config = Path("serve_config.yaml")
    configs = {"echo": echo_config(config), "uxo": our_config(config)}
    return [
        Plan(
            name=f"{name}-haproxy" if has_haproxy else name,
            config=content,
            port=port + PORTS_PER_SERVER * (2 * number + has_haproxy),
            has_haproxy=has_haproxy,
            folder=folder / f"{name}-{has_haproxy:d}",
            sockets=sockets,
            environment={"UXO_BOOTSTRAP_KEYS": f"{TENANT}:{KEY}"},
        )
        for number, (name, content) in enumerate(configs.items())
        for has_haproxy in (False, True)
    ]


def print_tables(cells: Sequence[Cell]) -> None:
    """Show what a run came to."""
    wide = Console(width=max(console.width, TABLE_WIDTH))
    for title, rows in (("What a call costs", figures.figure_rows(cells)), ("HAProxy", figures.mode_rows(cells))):
        table = Table(title=f"{title}: median of the rounds (lowest-highest)", box=SIMPLE_HEAD)
        for heading in rows[0]:
            table.add_column(heading, no_wrap=True)
        for line in rows[1:]:
            table.add_row(*line)
        wide.print(table)


def print_markdown(report: dict[str, Any]) -> None:
    """Print a finished run's tables for a document."""
    cells = figures.cells_of(report)
    for rows in (figures.figure_rows(cells), figures.mode_rows(cells)):
        sys.stdout.write(figures.markdown(rows) + "\n\n")


if __name__ == "__main__":
    app()
