"""Does delivering pictures hold up the steps of others? One real replica, whose steps take 100 ms each by sleeping.

    step ─ gap ─ step ─ gap ─ step …      meanwhile the pictures of the task before are encoded, written and sent

Measured without anything worth delivering, then with four pictures of 1024x1024 per task, in each format, each of
them written to disk and sent to a receiver in another process. A sleeping step needs the processor and the
interpreter's lock for nothing, as a GPU that was told what to do: what is measured is the replica around it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from deployments.delivery.presigned_put import put_picture
from deployments.operations.operation import Submit
from deployments.operations.operations import Operations
from deployments.outbound.client import GuardedClient
from deployments.outbound.rules import Rules
from loadtest.figures import markdown, percentile
from loadtest.findings import write_findings
from loadtest.flood import POLITE, Scene, caller_of, service, wish
from loadtest.machine import commit, machine
from loadtest.paced import PacedPipeline
from models.request import GeneratedImage, ImageFormat
from models.sample import Sample

STEP_S = 0.1
#: Of one task: pictures, and steps for each of them.
PICTURES, STEPS = 4, 5
SIDE = 1024
#: One replica, as it is by default.
SCENE = Scene(replicas=1, capacity=4, task_s=0, polite_load=0, flood_load=0, seconds=0)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedPipeline(PacedPipeline):
    """Notes when its steps begin and end."""

    #: What every picture looks like.
    picture: Image.Image
    #: Beginning and end of every step, in seconds of the monotonic clock.
    stamps: list[tuple[float, float]] = field(default_factory=list)

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Wait, and count one step for each."""
        started = time.monotonic()
        stepped = PacedPipeline.step(self, group)
        self.stamps.append((started, time.monotonic()))
        return stepped

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Return the same picture for each."""
        return [GeneratedImage(seed=sample.seed, image=self.picture) for sample in samples]


@app.command()
def step_gaps(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/step_gaps.json"),
    tasks: Annotated[int, typer.Option(min=2, help="Of two seconds each, for each of the four rounds.")] = 12,
) -> None:
    """Measure the gaps between the steps of a replica that delivers pictures."""
    facts = {"benchmark": "step_gaps", "commit": commit(), "machine": machine(), "step_ms": STEP_S * 1000}
    found = {"nothing to deliver": asyncio.run(gaps_of(tasks, picture=Image.new("RGB", (16, 16))))}
    with receiver() as port:
        for kind in ImageFormat:
            url = f"http://127.0.0.1:{port}/"
            found[kind] = asyncio.run(gaps_of(tasks, picture=scenery(), output_format=kind, upload_url=url))
    write_findings(output, facts | {"gaps_ms": found})
    sys.stdout.write(table(found) + "\n")


async def gaps_of(
    tasks: int, *, picture: Image.Image, output_format: ImageFormat = ImageFormat.JPEG, upload_url: str | None = None
) -> list[float]:
    """Run tasks back to back; return the milliseconds between the end of each step and the beginning of the next."""
    pipeline = StampedPipeline(step_s=STEP_S, picture=picture)
    submit = wish()
    request = replace(submit.request, num_images=PICTURES, num_inference_steps=STEPS, output_format=output_format)
    submit = replace(submit, request=request, sinks=("files",), upload_url=upload_url)
    upload = partial(put_picture, GuardedClient(Rules(allows_private=True)))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        async with service(f"sqlite:///{folder}/uxo.db", SCENE, pipeline=pipeline, upload=upload) as (operations, _):
            await _run(operations, submit, tasks=tasks)
    ends, starts = [end for _, end in pipeline.stamps], [start for start, _ in pipeline.stamps]
    return [(start - end) * 1000 for end, start in zip(ends[:-1], starts[1:], strict=True)]


async def _run(operations: Operations, submit: Submit, *, tasks: int) -> None:
    caller = caller_of(POLITE[0])
    submitted = [await operations.submit(submit, caller) for _ in range(tasks)]
    ended = [await operations.wait(one, caller) for one in submitted]
    assert all(one.task.outputs for one in ended)  # noqa: S101 -- every picture was delivered, or this measures nothing


def scenery() -> Image.Image:
    """Draw a picture that compresses about as a photograph does."""
    draw = random.Random(1)  # noqa: S311 -- a load, not a secret
    rough = Image.frombytes("RGB", (256, 256), draw.randbytes(3 * 256 * 256)).resize((SIDE, SIDE))
    smooth = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn).resize((SIDE, SIDE)) for turn in (0, 90, 180)])
    return Image.blend(rough, smooth, 0.8)


@contextmanager
def receiver() -> Iterator[int]:
    """Take uploads in another process for the length of the block; yield its port."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def receive(told: Connection) -> None:
    """Take whatever is sent, until ended."""
    asyncio.run(_receive(told))


async def _receive(told: Connection) -> None:
    server = await asyncio.start_server(_take, "127.0.0.1", 0)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


def table(found: dict[str, Any]) -> str:
    """Write the gaps as a table."""
    rows = [["while delivering", "gaps", "mean ms", "p50 ms", "p99 ms", "longest ms", "mean / step"]]
    for name, gaps_ms in found.items():
        mean = sum(gaps_ms) / len(gaps_ms)
        figures = [mean, percentile(gaps_ms, 0.5), percentile(gaps_ms, 0.99), max(gaps_ms)]
        rows.append([name, str(len(gaps_ms)), *(f"{ms:.2f}" for ms in figures), f"{mean / STEP_S / 1000:.2%}"])
    return markdown(rows)


if __name__ == "__main__":
    app()
