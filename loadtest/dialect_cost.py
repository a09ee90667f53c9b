"""What does a call cost in each dialect, beside WaveSpeed's? Real ingress, store and replicas; the model is paced.

    accepted     the call is answered once the task is durable    WaveSpeed, fal's queue, Runware async
    carried out  the call is answered with the picture            WaveSpeed sync, fal's run, AIML, Runware sync, KServe

The dialects take turns inside each round, so whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
import uvicorn
from rich.console import Console
from sqlalchemy import delete

from deployments.database.database import Database, open_database
from deployments.database.schema import tasks
from deployments.delivery.files import FilesSink
from deployments.delivery.kept import KeptPictures
from deployments.delivery.kept_space import KeptSpace
from deployments.dialects import DIALECTS
from deployments.ingress.application import make_ingress
from deployments.ingress.parts import Parts
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.keys import KeyRing
from deployments.tenants.tenant import Tenant
from loadtest.closed_loop import closed_loop, connected, wire_call
from loadtest.figures import percentile
from loadtest.findings import write_findings
from loadtest.flood import OUTPUTS, POLITE, SECRET, Scene, service
from loadtest.machine import commit, machine
from loadtest.reference import small_reference

KEY = "key-of-the-load-test-0123"


_SCENE = Scene(replicas=2, capacity=1, task_s=0.01, polite_load=0, flood_load=0, seconds=0)
#: What is accepted is left lying, so that nothing else happens; what is carried out meets an idle replica.
SCENES = MappingProxyType({"accepted": replace(_SCENE, replicas=0), "carried out": _SCENE})
REFERENCE = small_reference()
PROMPT = "two mugs on a table"
#: What every other figure is divided by.
BESIDE = "wavespeed"

#: Makes the path and the body of one call.
Ask = Callable[[], tuple[str, Mapping[str, Any] | Sequence[Any]]]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One kind of call in one round."""

    #: Whether the answer is the acknowledgement or the picture.
    kind: str
    #: Which dialect.
    dialect: str
    #: Calls answered.
    calls: int
    #: Median duration.
    p50_ms: float


@app.command()
def dialect_cost(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/dialect_cost.json"),
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Load per kind, dialect and round.")] = 2.0,
    port: Annotated[int, typer.Option(help="Where the server listens.")] = 18650,
) -> None:
    """Measure how long calls take in each dialect, one client at a time."""
    measured: list[Measured] = []
    for kind in SCENES:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            url = f"sqlite:///{Path(folder).resolve() / 'uxo.db'}"
            measured += asyncio.run(run(kind, url, rounds=rounds, seconds=seconds, port=port))
    facts = {"benchmark": "dialect_cost", "commit": commit(), "machine": machine()}
    write_findings(output, facts | {"measured": [asdict(each) for each in measured]})
    sys.stdout.write(markdown(measured))
    console.print(f"written to {output}")


async def run(kind: str, url: str, *, rounds: int, seconds: float, port: int) -> list[Measured]:
    """Measure one kind of call in every dialect that has it, round after round."""
    asks = {dialect: ask for (each, dialect), ask in CALLS.items() if each == kind}
    measured: list[Measured] = []
    async with serving(url, SCENES[kind], port=port) as database, connected(port) as connection:
        for _ in range(rounds):
            for dialect, ask in asks.items():

                async def call(ask: Ask = ask) -> None:
                    path, body = ask()
                    await connection.exchange(wire_call("POST", path, key=KEY, body=json.dumps(body).encode()))

                # What was only accepted must neither pile up nor be carried out meanwhile.
                await database.write(lambda transaction: transaction.execute(delete(tasks)))
                load = await closed_loop([call], seconds=seconds)
                p50_ms = percentile(load.durations_ms, 0.5)
                measured.append(Measured(kind=kind, dialect=dialect, calls=len(load.durations_ms), p50_ms=p50_ms))
                console.print(f"  {kind:12} {dialect:10} p50 {p50_ms:6.2f} ms, {len(load.durations_ms)} calls")
    return measured


@asynccontextmanager
async def serving(url: str, scene: Scene, *, port: int) -> AsyncIterator[Database]:
    """Serve every dialect for the length of the block; yields the database behind it."""
    async with service(url, scene) as (operations, store):
        database = await open_database(url)
        files = FilesSink(OUTPUTS, ttl_s=3600)
        directory = TenantDirectory(database)
        await directory.change(Tenant(id=POLITE[0], max_queued=None))
        keys = KeyRing({POLITE[0]: (KEY,)}, directory=directory, secret=SECRET)
        kept = KeptPictures(files, KeptSpace(database), secret=SECRET)
        parts = Parts(operations=operations, keys=keys, files=files, kept=kept, store=store)

        @asynccontextmanager
        async def open_parts() -> AsyncIterator[Parts]:
            yield parts

        ingress = make_ingress(list(DIALECTS.values()), open_parts)
        server = uvicorn.Server(uvicorn.Config(ingress, host="127.0.0.1", port=port, log_level="warning"))
        running = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 -- the server sets no event
            await asyncio.sleep(0.01)
        yield database
        server.should_exit = True
        await running
        await database.close()


def wavespeed(*, waits: bool) -> Ask:
    """Ask WaveSpeed's way."""
    body = {"reference_images": [REFERENCE], "prompt": PROMPT, "seed": 7, "enable_sync_mode": waits}
    return lambda: ("/api/v3/bytedance/uso", body)


def fal(*, waits: bool) -> Ask:
    """Ask fal's way."""
    body = {"input_image_urls": [REFERENCE], "prompt": PROMPT, "seed": 7}
    return lambda: (f"/fal/{'run' if waits else 'queue'}/fal-ai/uso", body)


def aiml() -> Ask:
    """Ask AIML's way."""
    body = {"model": "bytedance/uso", "image_urls": [REFERENCE], "prompt": PROMPT, "seed": 7}
    return lambda: ("/v1/images/generations", body)


def runware(*, waits: bool) -> Ask:
    """Ask Runware's way; every task has a UUID of its own."""
    task = {
        "taskType": "imageInference",
        "model": "bytedance:uso@1",
        "positivePrompt": PROMPT,
        "inputs": {"referenceImages": [REFERENCE]},
        "seed": 7,
        "deliveryMethod": "sync" if waits else "async",
    }
    return lambda: ("/v1", [task | {"taskUUID": str(uuid.uuid4())}])


def kserve() -> Ask:
    """Ask KServe's way."""
    inputs = [
        {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [PROMPT]},
        {"name": "images", "datatype": "BYTES", "shape": [1], "data": [REFERENCE]},
        {"name": "seed", "datatype": "INT64", "shape": [1], "data": [7]},
    ]
    return lambda: ("/v2/models/uso/infer", {"inputs": inputs})


#: Every kind of call in every dialect that has it.
CALLS: Mapping[tuple[str, str], Ask] = MappingProxyType(
    {
        ("accepted", "wavespeed"): wavespeed(waits=False),
        ("accepted", "fal"): fal(waits=False),
        ("accepted", "runware"): runware(waits=False),
        ("carried out", "wavespeed"): wavespeed(waits=True),
        ("carried out", "fal"): fal(waits=True),
        ("carried out", "aiml"): aiml(),
        ("carried out", "runware"): runware(waits=True),
        ("carried out", "kserve"): kserve(),
    }
)


def markdown(measured: Sequence[Measured]) -> str:
    """Write the medians over the rounds, and their ratios to WaveSpeed's, as a table."""
    lines = ["| answered when | dialect | p50 ms | beside WaveSpeed |", "| --- | --- | --- | --- |"]
    for kind, dialect in CALLS:
        p50_ms, beside_ms = (_median(measured, kind, name) for name in (dialect, BESIDE))
        lines.append(f"| {kind} | {dialect} | {p50_ms:.2f} | {p50_ms / beside_ms:.2f} |")
    return "\n".join(lines) + "\n"


def _median(measured: Sequence[Measured], kind: str, dialect: str) -> float:
    return statistics.median(each.p50_ms for each in measured if (each.kind, each.dialect) == (kind, dialect))


if __name__ == "__main__":
    app()
