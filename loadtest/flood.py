"""Does a flooding tenant slow nine polite ones down? Real accept, store, claims, replicas; only the model is paced.

    nine polite tenants alone ──► the same arrivals beside a flood ──► the ratio of their latencies

Arrivals are drawn from a seed and are due at set times, whatever the service does; latency counts from the due time.
The flood asks for ten times what the replicas can do and goes on asking when it is refused.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from deployments.database.database import open_database
from deployments.database.signals import open_signal
from deployments.decoding.pool import DecoderPool
from deployments.delivering import Upload, no_upload
from deployments.delivery.files import FilesSink
from deployments.delivery.inline import InlineSink
from deployments.delivery.sink import Sink
from deployments.errors import Overloaded
from deployments.operations.caller import Caller
from deployments.operations.doors import Doors as OperationsDoors
from deployments.operations.operation import Submit
from deployments.operations.operations import Operations
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.references import References
from deployments.replica.doors import Doors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.tasks.store import TaskStore
from deployments.telemetry.logs import configure_logging
from deployments.tenants.directory import TenantDirectory
from loadtest.figures import percentile
from loadtest.findings import write_findings
from loadtest.machine import commit, machine
from loadtest.paced import PacedPipeline
from models.catalog import CATALOG
from models.engine import Engine
from models.pipeline import Pipeline
from models.request import GenerationRequest

POLITE = [f"polite-{number}" for number in range(1, 10)]
FLOODER = "flooder"
STEPS = 10
#: Where pictures go that are not inline, and what links to them are signed with.
OUTPUTS, SECRET = Path("var/bench/outputs"), "load" * 8

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a run is made of."""

    #: Replicas that work side by side.
    replicas: int
    #: Tasks that one replica holds at once.
    capacity: int
    #: Seconds that a task keeps a replica busy.
    task_s: float
    #: What the polite tenants ask for together, as a share of what the replicas can do.
    polite_load: float
    #: What the flood asks for, in the same unit.
    flood_load: float
    #: Seconds in which tasks arrive.
    seconds: float

    @property
    def tasks_per_s(self) -> float:
        """Return what the replicas can do."""
        return self.replicas / self.task_s


@app.command()
def flood(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/flood.json"),
    seconds: Annotated[float, typer.Option(min=1, help="Length of each of the two phases.")] = 60.0,
    capacity: Annotated[int, typer.Option(min=1, help="Tasks that each of the eight replicas holds at once.")] = 4,
    polite_load: Annotated[float, typer.Option(help="Asked for by the nine, as a share of what can be done.")] = 0.7,
    database: Annotated[str, typer.Option(help="An empty database; a SQLite file that is thrown away if none.")] = "",
) -> None:
    """Measure the latency of polite tenants alone and beside a flood."""
    scene = Scene(replicas=8, capacity=capacity, task_s=1.0, polite_load=polite_load, flood_load=10.0, seconds=seconds)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = database or f"sqlite:///{Path(folder).resolve() / 'uxo.db'}"
        found = asyncio.run(run(url, scene))
    facts = {"benchmark": "flood", "commit": commit(), "machine": machine(), "scene": repr(scene)}
    write_findings(output, facts | found)
    sys.stdout.write(markdown(found))
    console.print(f"written to {output}")


async def run(url: str, scene: Scene) -> dict[str, Any]:
    """Measure both phases on one database."""
    async with service(url, scene) as (operations, store):
        alone = await phase("alone", operations, store, scene, flood_load=0)
        beside = await phase("beside a flood", operations, store, scene, flood_load=scene.flood_load)
    p95 = [percentile(found["polite_s"], 0.95) for found in (alone, beside)]
    return {"alone": alone, "beside": beside, "p95_ratio": p95[1] / p95[0]}


@asynccontextmanager
async def service(
    url: str, scene: Scene, *, pipeline: Pipeline | None = None, upload: Upload = no_upload
) -> AsyncIterator[tuple[Operations, TaskStore]]:
    """Run replicas for the length of the block, on a paced pipeline if no other is given."""
    configure_logging(level=logging.WARNING)
    async with AsyncExitStack() as stack:
        database = await open_database(url)
        stack.push_async_callback(database.close)
        signal = open_signal(url)
        stack.push_async_callback(signal.close)
        for tenant_id in (*POLITE, FLOODER):
            await TenantDirectory(database).ensure(tenant_id)
        store = TaskStore(database)
        files = FilesSink(OUTPUTS, ttl_s=3600)
        sinks: dict[str, Sink] = {"inline": InlineSink(), "files": files}
        web = ReferenceFetcher(GuardedClient(Rules()))
        decoders = await stack.enter_async_context(DecoderPool())
        doors = Doors(store=store, signal=signal, fetcher=web, decode=decoders.decode, sinks=sinks, upload=upload)
        limits = Limits(capacity=scene.capacity, lease_s=20)
        stopping, running = asyncio.Event(), []
        for number in range(scene.replicas):
            engine = Engine(dict.fromkeys(CATALOG, pipeline or PacedPipeline(step_s=scene.task_s / STEPS)))
            running.append(Replica(f"r{number}", engine=engine, doors=doors, limits=limits).run(stopping))
        replicas = asyncio.gather(*running)
        references = References(files, web)
        operations = OperationsDoors.over(
            database,
            store=store,
            signal=signal,
            files=files,
            sinks=sinks,
            references=references,
            upload=no_upload,
            secret=SECRET,
            max_queued=100_000,
            rules=Rules(),
        )
        yield Operations(operations, wait_s=600), store
        stopping.set()
        await replicas


async def phase(
    name: str, operations: Operations, store: TaskStore, scene: Scene, *, flood_load: float
) -> dict[str, Any]:
    """Let everybody submit, wait for the polite tenants' tasks, and cancel what the flood left."""
    latencies: list[float] = []
    flooding = asyncio.create_task(flood_on(operations, rate=flood_load * scene.tasks_per_s))
    async with asyncio.TaskGroup() as polite:
        for number, tenant_id in enumerate(POLITE):
            due = arrivals(rate=scene.polite_load * scene.tasks_per_s / len(POLITE), seconds=scene.seconds, seed=number)
            polite.create_task(submit_all(operations, tenant_id, due=due, latencies=latencies))
    flooding.cancel()
    accepted, refused = await flooding if flood_load else (0, 0)
    while claims := await store.claim(models=["uno"], limit=100, replica_id="broom", lease_s=60):
        for claim in claims:
            await store.cancel(claim.task.id, tenant_id=claim.task.tenant_id)
    console.print(
        f"  {name:16} {len(latencies)} polite tasks, p50 {percentile(latencies, 0.5):.2f} s, "
        f"p95 {percentile(latencies, 0.95):.2f} s; flood {accepted} accepted, {refused} refused"
    )
    return {"polite_s": latencies, "flood_accepted": accepted, "flood_refused": refused}


def arrivals(*, rate: float, seconds: float, seed: int) -> list[float]:
    """Return when tasks of one tenant are due, in seconds from the start: a Poisson process."""
    draw, due, at = random.Random(seed), [], 0.0  # noqa: S311 -- a load, not a secret
    while (at := at + draw.expovariate(rate)) < seconds:
        due.append(at)
    return due


def caller_of(tenant_id: str) -> Caller:
    """Return a tenant as one who asks."""
    return Caller(tenant_id=tenant_id, dialect="wavespeed", base_url="http://load.test")


async def submit_all(operations: Operations, tenant_id: str, *, due: Sequence[float], latencies: list[float]) -> None:
    """Submit each task when it is due, and note how long after that its picture was there."""
    started = time.monotonic()

    async def submit_one(at: float) -> None:
        caller = caller_of(tenant_id)
        await operations.wait(await operations.submit(wish(), caller), caller)
        latencies.append(time.monotonic() - started - at)

    async with asyncio.TaskGroup() as submitted:
        for at in due:
            await asyncio.sleep(max(started + at - time.monotonic(), 0))
            submitted.create_task(submit_one(at))


async def flood_on(operations: Operations, *, rate: float) -> tuple[int, int]:
    """Submit at a rate until cancelled; return how many were accepted and how many refused."""
    accepted = refused = 0
    try:
        while rate:
            try:
                await operations.submit(wish(), caller_of(FLOODER))
                accepted += 1
            except Overloaded:
                refused += 1
            await asyncio.sleep(1 / rate)
    except asyncio.CancelledError:
        pass
    return accepted, refused


def wish() -> Submit:
    """Return the smallest submission."""
    request = GenerationRequest(
        model="uno",
        prompt="a mug",
        references=(),
        width=128,
        height=128,
        num_inference_steps=STEPS,
        guidance_scale=3.5,
        seed=7,
    )
    return Submit(request=request, dialect="wavespeed", sinks=("inline",))


def markdown(found: dict[str, Any]) -> str:
    """Write the figures as a table."""
    lines = [
        "| polite tenants | tasks | p50 s | p95 s | flood accepted | flood refused |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in ("alone", "beside"):
        each = found[name]
        p50, p95 = percentile(each["polite_s"], 0.5), percentile(each["polite_s"], 0.95)
        flood = f"{each['flood_accepted']} | {each['flood_refused']}"
        lines.append(f"| {name} | {len(each['polite_s'])} | {p50:.2f} | {p95:.2f} | {flood} |")
    return "\n".join(lines) + f"\n\np95 beside / alone: {found['p95_ratio']:.2f}\n"


if __name__ == "__main__":
    app()
