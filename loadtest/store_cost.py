"""What does a durable submission cost the database, and does it cost more when a million tasks lie behind it?

    for every history: fill every database ──► rounds of every operation at every database ──► JSON and a table

The databases take turns inside each round, so whatever else the machine does falls on all of them. A submission is the
whole accept: tenant's row, limits, fair order, task, request, budget. A life is accept, claim and good end.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import Connection, delete, make_url, text

from deployments.clock import utc_now
from deployments.database.database import Database, open_database
from deployments.database.schema import tasks
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Success, Task
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from loadtest.closed_loop import closed_loop
from loadtest.figures import percentile, spread
from loadtest.findings import write_findings
from loadtest.machine import commit, machine
from loadtest.targets import SMALL_REFERENCE, new_request, new_task

#: Tenants that submit in turn.
TENANTS = [f"tenant-{number:03}" for number in range(100)]
#: Ended tasks that are written in one statement.
CHUNK = 50_000

#: Write ended tasks number :first to :last of a long history.
WRITE_HISTORY = text("""
    INSERT INTO tasks (id, tenant_id, model, dialect, notes, sink, state, fair_key, work_units, weight, attempt, fence,
                       steps_total, steps_done, price, created_at, started_at, finished_at, inference_ms, outputs)
    WITH RECURSIVE numbers (n) AS (
        SELECT CAST(:first AS INTEGER) UNION ALL SELECT n + 1 FROM numbers WHERE n < CAST(:last AS INTEGER)
    )
    SELECT 'ended-' || CAST(n AS TEXT), 'tenant-0' || CAST(n % 90 + 10 AS TEXT), 'uno', 'wavespeed', '{}', 'files',
           'succeeded', n, 28, 1, 1, 1, 28, 28, 50000, 1790000000 + n, 1790000001 + n, 1790000005 + n, 4000, '[]'
    FROM numbers
""")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One operation at one database with one history in one round."""

    #: Kind of database.
    database: str
    #: Ended tasks in it.
    history: int
    #: What was done, with the number of clients that did it at once.
    operation: str
    #: Done per second.
    per_s: float
    #: Median duration.
    p50_ms: float
    #: What 99 of 100 stay below.
    p99_ms: float


@app.command()
def store_cost(
    urls: Annotated[list[str], typer.Argument(help="Databases, empty ones: everything in them is overwritten.")],
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/store_cost.json"),
    histories: Annotated[str, typer.Option(help="Ended tasks, growing.")] = "0,10000,1000000",
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Load per operation, database and round.")] = 3.0,
) -> None:
    """Measure accept and the whole life of a task at some databases with growing histories."""
    sizes = [int(size) for size in histories.split(",")]
    measured = asyncio.run(run(urls, sizes=sizes, rounds=rounds, seconds=seconds))
    report = {
        "benchmark": "store_cost",
        "measured_at": utc_now().isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "rounds": rounds,
        "seconds": seconds,
        "cells": [asdict(each) for each in measured],
    }
    write_findings(output, report)
    sys.stdout.write(markdown(measured))
    console.print(f"written to {output}")


async def run(urls: Sequence[str], *, sizes: Sequence[int], rounds: int, seconds: float) -> list[Measured]:
    """Measure everything."""
    databases = {make_url(url).get_backend_name(): await open_database(url) for url in urls}
    for database in databases.values():
        await prepare(database)
    measured: list[Measured] = []
    filled = 0
    for size in sizes:
        for name, database in databases.items():
            await fill(name, database, first=filled, last=size)
        filled = size
        for _ in range(rounds):
            for name, database in databases.items():
                measured += await measure(name, database, history=size, seconds=seconds)
    for database in databases.values():
        await database.close()
    return measured


async def prepare(database: Database) -> None:
    """Make tenants without limits."""
    directory = TenantDirectory(database)
    for tenant_id in TENANTS:
        await directory.create(Tenant(id=tenant_id, max_queued=None))


async def fill(name: str, database: Database, *, first: int, last: int) -> None:
    """Write ended tasks until there are so many."""
    for start in range(first, last, CHUNK):
        values = {"first": start + 1, "last": min(start + CHUNK, last)}
        await database.write(lambda connection, values=values: connection.execute(WRITE_HISTORY, values))  # type: ignore[misc]  # mypy does not read defaults of lambdas
        console.print(f"  {name}: {values['last']} ended tasks")


async def measure(name: str, database: Database, *, history: int, seconds: float) -> list[Measured]:
    """Measure every operation once."""
    store, found = TaskStore(database), []
    for title, clients, once in operations(store):
        load = await closed_loop([once] * clients, seconds=seconds)
        await database.write(clear)
        each = Measured(
            database=name,
            history=history,
            operation=f"{title} x{clients}",
            per_s=len(load.durations_ms) / load.wall_s,
            p50_ms=percentile(load.durations_ms, 0.5),
            p99_ms=percentile(load.durations_ms, 0.99),
        )
        console.print(f"  {name:10} {history:8} {each.operation:10} {each.per_s:7.0f}/s p99 {each.p99_ms:6.1f} ms")
        found.append(each)
    return found


def operations(store: TaskStore) -> list[tuple[str, int, Callable[[], Coroutine[Any, Any, None]]]]:
    """Return what is done, by how many clients at once."""
    request, tenants = new_request(SMALL_REFERENCE), cycle(TENANTS)

    async def submit() -> None:
        await store.accept(new_task(tenant_id=next(tenants)), request)

    async def live() -> None:
        await submit()
        for claim in await store.claim(models=["uno"], limit=1, replica_id="loadtest", lease_s=60):
            await succeed(store, claim.task)

    return [("submit", 1, submit), ("submit", 16, submit), ("life", 1, live), ("life", 16, live)]


async def succeed(store: TaskStore, task: Task) -> None:
    """End a task well, without pictures."""
    await store.succeed(task.id, fence=task.fence, success=Success(outputs=(), inference_ms=1))


def clear(connection: Connection) -> None:
    """Delete what the last operation left, so that the history stays what it is said to be."""
    connection.execute(delete(tasks).where(tasks.c.id.not_like("ended-%")))


def markdown(measured: Sequence[Measured]) -> str:
    """Write the medians of the rounds, and what the longest history costs beside none."""
    lines = ["| database | operation | ended tasks | per second | p50 ms | p99 ms | per second / none |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    groups = dict.fromkeys((each.database, each.operation, each.history) for each in measured)
    medians = {group: medians_of(measured, group) for group in groups}
    for (database, operation, history), found in sorted(medians.items()):
        alone = medians[database, operation, min(each.history for each in measured)]["per_s"]
        figures = f"{found['per_s']:.0f} | {found['p50_ms']:.2f} | {found['p99_ms']:.1f} | {found['per_s'] / alone:.2f}"
        lines.append(f"| {database} | {operation} | {history:,} | {figures} |")
    return "\n".join(lines) + "\n"


def medians_of(measured: Sequence[Measured], group: tuple[str, str, int]) -> Mapping[str, float]:
    """Return the middle round of one group, by metric."""
    rounds = [each for each in measured if (each.database, each.operation, each.history) == group]
    return {
        metric: spread([getattr(each, metric) for each in rounds]).median for metric in ("per_s", "p50_ms", "p99_ms")
    }


if __name__ == "__main__":
    app()
