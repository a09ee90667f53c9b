"""How soon does an idle replica start a new task? Real accept, store, signal and replica; one task at a time.

The delay is the database's own: from the accept of a task to the start that its claim wrote down.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import make_url

from loadtest.figures import percentile
from loadtest.findings import write_findings
from loadtest.flood import POLITE, Scene, caller_of, service, wish
from loadtest.machine import commit, machine

#: One replica that is idle whenever a task comes.
SCENE = Scene(replicas=1, capacity=1, task_s=0.004, polite_load=0, flood_load=0, seconds=0)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def wake_up(
    urls: Annotated[list[str], typer.Argument(help="Databases, empty ones.")],
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/wake_up.json"),
    tasks: Annotated[int, typer.Option(min=1)] = 500,
) -> None:
    """Measure how long tasks wait for an idle replica."""
    delays = {make_url(url).get_backend_name(): asyncio.run(delays_ms(url, tasks=tasks)) for url in urls}
    facts = {"benchmark": "wake_up", "commit": commit(), "machine": machine(), "delays_ms": delays}
    write_findings(output, facts)
    sys.stdout.write(markdown(delays))


async def delays_ms(url: str, *, tasks: int) -> list[float]:
    """Submit tasks one at a time, each at an odd moment after the last has ended; return how long each waited."""
    draw, found = random.Random(7), []  # noqa: S311 -- a load, not a secret
    caller = caller_of(POLITE[0])
    async with service(url, SCENE) as (operations, _):
        for _ in range(tasks):
            await asyncio.sleep(draw.uniform(0.02, 0.12))
            task = (await operations.wait(await operations.submit(wish(), caller), caller)).task
            assert task.started_at is not None  # noqa: S101 -- it has succeeded
            found.append((task.started_at - task.created_at).total_seconds() * 1000)
    return found


def markdown(delays: dict[str, list[float]]) -> str:
    """Write the delays as a table."""
    lines = ["| database | tasks | p50 ms | p99 ms | longest ms |", "| --- | --- | --- | --- | --- |"]
    for database, found in delays.items():
        p50, p99 = percentile(found, 0.5), percentile(found, 0.99)
        lines.append(f"| {database} | {len(found)} | {p50:.0f} | {p99:.0f} | {max(found):.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app()
