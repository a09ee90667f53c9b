"""Previews: what a task looks like while a replica works on it, for those who follow it."""

from __future__ import annotations

import asyncio
import io
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from PIL import Image
from running_replica import decode_here, running
from solid_pipeline import SolidPipeline

from deployments.database.signals import StoreSignal
from deployments.delivering import Check, no_check
from deployments.delivery.sink import Sink
from deployments.operations.caller import Caller
from deployments.operations.doors import Doors
from deployments.operations.operation import Watch
from deployments.operations.operations import Operations
from deployments.operations.outcome import TaskOutcome
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.replica.doors import Doors as ReplicaDoors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Preview, Task, TaskState
from models.engine import Engine
from models.request import GeneratedImage, Safety
from models.sample import Sample

ALICE = Caller(tenant_id="alice", dialect="fal", base_url="https://here.example")
Submit = Callable[..., Awaitable[Task]]
Until = Callable[..., Awaitable[Task]]


class PausingPipeline(SolidPipeline):
    """Waits before the fourth step of a picture until it is let go on."""

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Step, and close the gate after the third step."""
        stepped = super().step(group)
        if stepped[0].steps_done == 3:
            self.gate.clear()
        return stepped


class SeenPipeline(SolidPipeline):
    """Remembers of which requests somebody wanted to see a preview."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def preview(self, sample: Sample) -> Image.Image | None:
        """Show it, and remember that."""
        self.seen.add(sample.request_id)
        return super().preview(sample)


async def no_fault_found(image: GeneratedImage, safety: Safety) -> GeneratedImage:
    """Look at a picture where that is asked for, and find nothing wrong with it."""
    return image if safety is Safety.SKIP else replace(image, is_unsafe=False)


def replica_of(
    pipeline: SolidPipeline,
    store: TaskStore,
    signal: StoreSignal,
    sinks: Mapping[str, Sink],
    *,
    check: Check = no_check,
) -> Replica:
    """Return a replica that makes a preview every second step."""
    fetcher = ReferenceFetcher(GuardedClient(Rules()))
    doors = ReplicaDoors(store=store, signal=signal, fetcher=fetcher, decode=decode_here, sinks=sinks, check=check)
    limits = Limits(capacity=1, lease_s=60, preview_every=2)
    return Replica("r1", engine=Engine({"uno": pipeline}), doors=doors, limits=limits)


async def first_preview(operations: Operations, task: Task) -> Preview:
    """Follow a task until something is to be seen of it."""
    outcome = await operations.perform(Watch(task_id=task.id), ALICE)
    assert isinstance(outcome, TaskOutcome)
    async for change in operations.watch(outcome, ALICE):
        if change.preview is not None:
            return change.preview
    raise AssertionError("the task has ended without a preview")


async def test_followers_see_what_a_task_looks_like(
    store: TaskStore,
    signal: StoreSignal,
    sinks: Mapping[str, Sink],
    make_doors: Callable[[], Doors],
    submit: Submit,
    until: Until,
) -> None:
    """After two of five steps a follower gets a small picture of the state after two, and in the end a success."""
    pipeline, operations = PausingPipeline(), Operations(make_doors(), wait_s=20)
    task = await submit(num_inference_steps=5)

    async with running(replica_of(pipeline, store, signal, sinks)):
        preview = await asyncio.wait_for(first_preview(operations, task), 20)
        pipeline.gate.set()
        ended = await until(task, TaskState.SUCCEEDED)

    assert (preview.picture, preview.steps_done) == (0, 2)
    with Image.open(io.BytesIO(b64decode(preview.jpeg)), formats=["JPEG"]) as image:
        assert image.size == (2, 2)
    assert await store.read_preview(ended) is None


async def test_a_preview_that_fails_fails_no_task(
    store: TaskStore, signal: StoreSignal, sinks: Mapping[str, Sink], submit: Submit, until: Until
) -> None:
    """A task of which no preview can be made succeeds as ever."""
    task = await submit(prompt="break at preview", num_inference_steps=5)

    async with running(replica_of(SolidPipeline(), store, signal, sinks)):
        ended = await until(task, TaskState.SUCCEEDED, TaskState.FAILED)

    assert ended.state is TaskState.SUCCEEDED


@pytest.mark.parametrize(
    ("check", "shown"), [(no_check, [*Safety]), (no_fault_found, [Safety.SKIP, Safety.TELL])], ids=["nobody", "checked"]
)
async def test_what_may_have_to_be_covered_is_not_shown_before(
    store: TaskStore,
    signal: StoreSignal,
    sinks: Mapping[str, Sink],
    submit: Submit,
    until: Until,
    *,
    check: Check,
    shown: list[Safety],
) -> None:
    """Where pictures are looked at, one that would be made black if need be has no previews; all others have."""
    pipeline = SeenPipeline()
    tasks = {safety: await submit(safety=safety, num_inference_steps=5) for safety in Safety}

    async with running(replica_of(pipeline, store, signal, sinks, check=check)):
        for task in tasks.values():
            await until(task, TaskState.SUCCEEDED)

    assert [safety for safety, task in tasks.items() if task.id in pipeline.seen] == shown
