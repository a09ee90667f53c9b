"""The doors of a service as its tests open them, and the part of a replica; test modules cannot import one another."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deployments.database.database import Database
from deployments.database.signals import StoreSignal, open_signal
from deployments.delivery.files import FilesSink
from deployments.delivery.inline import InlineSink
from deployments.delivery.presigned_put import put_picture
from deployments.delivery.sink import EncodedImage, Sink
from deployments.operations.doors import Doors
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.references import References
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Output, Success, Task, TaskState
from models.catalog import CATALOG
from models.cost import CostTable
from models.request import GenerationRequest

#: What every task in these tests comes to.
PICTURE = EncodedImage(content=b"the bytes of a picture", content_type="image/jpeg", extension="jpg")


@pytest.fixture
def files(tmp_path: Path) -> FilesSink:
    """Return a folder for pictures, each kept for a minute."""
    return FilesSink(tmp_path / "outputs", ttl_s=60)


@pytest.fixture
def sinks(files: FilesSink) -> dict[str, Sink]:
    """Return every sink by its kind."""
    return {"files": files, "inline": InlineSink()}


@pytest.fixture
async def signal(database_url: str) -> AsyncIterator[StoreSignal]:
    """Return the store's wake-ups."""
    signal = open_signal(database_url)
    yield signal
    await signal.close()


@pytest.fixture
def make_doors(
    database: Database, store: TaskStore, signal: StoreSignal, sinks: Mapping[str, Sink], files: FilesSink
) -> Callable[..., Doors]:
    """Return a maker of what operations work through; give it another store, signal, bound or cost table."""

    def make(
        *,
        store: TaskStore = store,
        signal: StoreSignal = signal,
        max_queued: int = 100,
        request_bytes: int | None = None,
        costs: CostTable | None = None,
    ) -> Doors:
        references = References(files, ReferenceFetcher(GuardedClient(Rules())))
        return Doors.over(
            database,
            store=store,
            signal=signal,
            files=files,
            sinks=sinks,
            references=references,
            upload=partial(put_picture, GuardedClient(Rules(allows_private=True)), pauses_s=(0.0, 0.0)),
            secret="s" * 32,
            max_queued=max_queued,
            request_bytes=request_bytes,
            costs=costs,
            rules=Rules(),
        )

    return make


@pytest.fixture
def claim_next(store: TaskStore, signal: StoreSignal) -> Callable[[], Awaitable[Claim]]:
    """Return what a replica does first: wait until a task is queued, and claim it."""

    async def claim() -> Claim:
        async with asyncio.timeout(20):
            while True:
                seen = signal.mark()
                claims = await store.claim(models=list(CATALOG), limit=1, replica_id="r1", lease_s=60)
                if claims:
                    return claims[0]
                await signal.wait(seen, timeout_s=20)

    return claim


@pytest.fixture
def carry_out(
    store: TaskStore, sinks: Mapping[str, Sink], claim_next: Callable[[], Awaitable[Claim]]
) -> Callable[[], Awaitable[Task]]:
    """Return what a replica does with the next queued task: claim it, place a picture, end it well."""

    async def carry() -> Task:
        task = (await claim_next()).task
        output = Output(
            sink=task.sinks[0],
            value=await sinks[task.sinks[0]].put(f"{task.id}-{task.attempt}-0", PICTURE),
            content_type=PICTURE.content_type,
            size_bytes=len(PICTURE.content),
            sha256=hashlib.sha256(PICTURE.content).hexdigest(),
            seed=7,
        )
        assert await store.succeed(task.id, fence=task.fence, success=Success(outputs=(output,), inference_ms=12))
        return task

    return carry


@pytest.fixture
def submit(
    store: TaskStore, make_task: Callable[..., Task], make_request: Callable[..., GenerationRequest]
) -> Callable[..., Awaitable[Task]]:
    """Return what puts a task into the queue; give it a sink, and the fields of the request that matter."""

    async def insert(*, sink: str = "inline", tenant_id: str = "alice", **fields: Any) -> Task:
        request = make_request(**fields)
        steps = request.num_inference_steps * request.num_images
        task = make_task(sinks=(sink,), tenant_id=tenant_id, steps_total=steps)
        await store.accept(task, request)
        return task

    return insert


@pytest.fixture
def until(store: TaskStore, signal: StoreSignal) -> Callable[..., Awaitable[Task]]:
    """Return a waiter for a task to reach one of some states; any state will do where none is named."""

    async def wait(task: Task, *states: TaskState) -> Task:
        async with asyncio.timeout(20):
            while True:
                seen = signal.mark()
                found = await store.read(task.id, tenant_id=task.tenant_id)
                assert found is not None
                if found.state in (states or TaskState):
                    return found
                await signal.wait(seen, timeout_s=0.02)  # that a task now runs wakes nobody on PostgreSQL

    return wait
