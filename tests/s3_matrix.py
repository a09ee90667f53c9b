"""The fault matrix of the bucket: tasks through a real replica and a real bucket sink, with a faulty S3 in between.

    PYTHONPATH=tests:. python tests/s3_matrix.py --tasks 50 --output docs/benchmarks/s3_faults.json

A line is printed for each fault. It is no part of ``loadtest`` because it shares its server and its replica with the
tests. Every task has to end with bytes in the bucket that hash right, and be drawn once.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import structlog
from running_replica import decode_here, running
from s3_faults import FAULTS, misbehaving
from s3_server import S3Server
from solid_pipeline import SolidPipeline

from deployments.clock import utc_now
from deployments.database.database import open_database
from deployments.database.signals import open_signal
from deployments.delivery.bucket import BucketSink, Patience, Place
from deployments.delivery.encode import encode
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.replica.doors import Doors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task, TaskState
from deployments.tenants.directory import TenantDirectory
from loadtest.machine import commit, machine
from models.engine import Engine
from models.request import GenerationRequest, ImageFormat

#: Short waits; everything else is as in service.
PATIENCE = Patience(connect_s=1.0, read_s=2.5, try_s=3.0, give_up_s=120.0, max_pause_s=0.2)
#: Shorter than what most faults take, so that a replica that lets go of its tasks is seen.
LEASE_S = 8.0
#: Longest that all tasks of one fault may take, in seconds.
LIMIT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What came of one fault."""

    #: Its name.
    fault: str
    #: Tasks that were asked for.
    tasks: int
    #: How often the server misbehaved.
    misdeeds: int
    #: Tasks that succeeded.
    succeeded: int
    #: Those of them whose bytes in the bucket are not what was promised.
    wrong: int
    #: Times that a task was drawn beyond the first.
    drawn_again: int

    def __str__(self) -> str:
        cells = (self.tasks, self.misdeeds, self.succeeded, self.wrong, self.drawn_again)
        return f"| {self.fault:20} | " + " | ".join(f"{cell:11}" for cell in cells) + " |"


HEADING = "| fault                | tasks       | misdeeds    | succeeded   | wrong bytes | drawn again |"


async def run_fault(server: S3Server, name: str, *, tasks: int, folder: Path) -> Line:
    """Carry out tasks while the server misbehaves in one way, and look at what came of them.

    Args:
        server: the honest one behind.
        name: one of ``FAULTS``.
        tasks: how many.
        folder: for the database.
    """
    bucket, pipeline = server.create_bucket(), SolidPipeline()
    async with misbehaving(server, FAULTS[name]) as (proxy, url):
        sink = BucketSink(
            server.client(url=url, patience=PATIENCE), Place(bucket=bucket), ttl_s=3600, patience=PATIENCE
        )
        # Its double is there already, so that an old answer about it can be mistaken for one about a task's picture.
        await sink.put("double", encode(pipeline.paint(7, size=(256, 256)), ImageFormat.JPEG), tenant_id="alice")
        ended = await _carry_out(sink, pipeline, tasks=tasks, database_url=f"sqlite:///{folder / 'faults.db'}")
    succeeded = [task for task in ended if task.state is TaskState.SUCCEEDED]
    wrong = [task.id for task in succeeded if not _is_there(server, bucket, task)]
    steps = sum(len(group) for group in pipeline.groups)
    return Line(
        fault=name,
        tasks=tasks,
        misdeeds=proxy.misdeeds,
        succeeded=len(succeeded),
        wrong=len(wrong),
        drawn_again=steps - tasks,  # a picture is one step here
    )


async def _carry_out(sink: BucketSink, pipeline: SolidPipeline, *, tasks: int, database_url: str) -> list[Task]:
    database = await open_database(database_url)
    await TenantDirectory(database).ensure("alice")
    store, signal = TaskStore(database), open_signal(database_url)
    doors = Doors(
        store=store,
        signal=signal,
        fetcher=ReferenceFetcher(GuardedClient(Rules())),
        decode=decode_here,
        sinks={"files": sink, "bucket": sink},  # whichever is asked for, it is the bucket
    )
    replica = Replica(
        "r1", engine=Engine({"uno": pipeline}), doors=doors, limits=Limits(capacity=tasks, lease_s=LEASE_S)
    )
    accepted = [await store.accept(_task(), _REQUEST) for _ in range(tasks)]
    ids = [task.id for task in accepted]
    async with running(replica), asyncio.timeout(LIMIT_S):
        while await store.alive(ids):
            seen = signal.mark()
            await store.rescue()  # as the housekeeper does: a lease that is not renewed is a task drawn again
            await signal.wait(seen, timeout_s=0.5)
    ended = [await store.read(task_id, tenant_id="alice") for task_id in ids]
    await signal.close()
    await database.close()
    return [task for task in ended if task is not None]


_REQUEST = GenerationRequest(
    model="uno",
    prompt="a cat",
    references=(),
    width=256,
    height=256,
    num_inference_steps=1,
    guidance_scale=3.5,
    seed=7,
)


def _task() -> Task:
    return Task(id=uuid4().hex, tenant_id="alice", model="uno", dialect="wavespeed", notes={}, created_at=utc_now())


def _is_there(server: S3Server, bucket: str, task: Task) -> bool:
    [output] = task.outputs
    client = server.client()
    try:
        content = client.get_object(Bucket=bucket, Key=output.value)["Body"].read()
    except client.exceptions.NoSuchKey:
        return False
    return hashlib.sha256(content).hexdigest() == output.sha256


async def _print_all(server: S3Server, tasks: int) -> list[Line]:
    sys.stdout.write(HEADING + "\n")
    lines = []
    for name in FAULTS:
        with tempfile.TemporaryDirectory(prefix="uxo-faults-") as folder:
            line = await run_fault(server, name, tasks=tasks, folder=Path(folder))
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        lines.append(line)
    return lines


def main() -> None:
    """Run every fault and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=50, help="tasks of each fault")
    parser.add_argument("--output", type=Path, help="where the report goes, as JSON")
    asked = parser.parse_args()
    report = {"benchmark": "s3_faults", "commit": commit(), "machine": machine()}
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    server = S3Server()
    try:
        server.start()
        lines = asyncio.run(_print_all(server, asked.tasks))
    finally:
        server.close()
    if asked.output is not None:
        written = json.dumps(report | {"faults": [asdict(line) for line in lines]}, indent=1)
        asked.output.write_text(written + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
