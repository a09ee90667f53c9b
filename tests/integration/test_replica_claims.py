"""When a replica asks for more work while it has some, and how it hears that a claim is no longer its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from running_replica import decode_here, running
from solid_pipeline import SolidPipeline

from deployments.database.signals import StoreSignal
from deployments.delivery.inline import InlineSink
from deployments.delivery.sink import EncodedImage, Sink
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.replica.doors import Doors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.tasks.claim import MANY
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Success, Task, TaskState
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import LEASES_LOST
from loadtest.paced import PacedPipeline
from models.engine import Engine
from models.pipeline import Pipeline
from models.sample import Sample

Submit = Callable[..., Awaitable[Task]]
Until = Callable[..., Awaitable[Task]]
MakeReplica = Callable[..., Replica]
#: Longer than any test may take: whoever waits so long was not woken.
LONG_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndlessPipeline(PacedPipeline):
    """Takes a set time for every step, and does not take a picture's last one before its gate is open."""

    #: Opens for the last steps.
    gate: threading.Event = field(default_factory=threading.Event)

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Wait where it is the last, and step."""
        if any(sample.steps_done == sample.num_inference_steps - 1 for sample in group):
            assert self.gate.wait(timeout=30)
        return PacedPipeline.step(self, group)


class FullSink(InlineSink):
    """A sink that never has room, so that nothing ends."""

    async def put(self, name: str, image: EncodedImage, *, tenant_id: str = "", lifetime_s: float | None = None) -> str:
        """Wait for ever."""
        await asyncio.sleep(LONG_S)
        return await super().put(name, image, tenant_id=tenant_id, lifetime_s=lifetime_s)


class SlowToSayStore(TaskStore):
    """Writes that a task has succeeded, and says so only once somebody has seen that its claim is over."""

    written: asyncio.Event
    seen: asyncio.Event

    async def succeed(self, task_id: str, *, fence: int, success: Success) -> bool:
        """Write it, and wait."""
        is_ours = await super().succeed(task_id, fence=fence, success=success)
        self.written.set()
        await self.seen.wait()
        return is_ours

    async def still_claimed(self, fences: Mapping[str, int]) -> frozenset[str]:
        """Tell, and remember that it was told."""
        is_over = self.written.is_set()
        claimed = await super().still_claimed(fences)
        if is_over:
            self.seen.set()
        return claimed


@pytest.fixture
def make_replica(store: TaskStore, signal: StoreSignal, sinks: Mapping[str, Sink]) -> MakeReplica:
    """Return a maker of replicas whose leases are long."""

    def make(pipeline: Pipeline, *, store: TaskStore = store, capacity: int = 2, **limits: Any) -> Replica:
        fetcher = ReferenceFetcher(GuardedClient(Rules()))
        doors = Doors(
            store=store, signal=signal, fetcher=fetcher, decode=decode_here, sinks={**sinks, "full": FullSink()}
        )
        bounds = Limits(capacity=capacity, lease_s=LONG_S, **limits)
        return Replica("r1", engine=Engine({"uno": pipeline}), doors=doors, limits=bounds)

    return make


async def test_who_has_stepped_all_is_polite_no_longer(
    signal: StoreSignal, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """A busy replica leaves what is new to idle ones; as soon as it is idle itself, it takes it."""
    pipeline = SolidPipeline()
    async with running(make_replica(pipeline, polite_s=LONG_S)):
        await until(await submit(), TaskState.SUCCEEDED)  # it knows now how long a step takes
        pipeline.gate.clear()
        await submit(sink="full")
        assert await asyncio.to_thread(pipeline.waiting.wait, 10)
        seen, second = signal.mark(), await submit()
        await signal.wait(seen, timeout_s=10)  # the replica hears of it at the same moment
        pipeline.gate.set()

        await until(second, TaskState.SUCCEEDED)


async def test_who_is_about_to_end_asks_without_being_woken(
    store: TaskStore, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """One of a flood's tasks takes none of the same flood beside it until it is nearly done; nothing else happens."""
    elsewhere = [await submit(), await submit()]
    assert len(await store.claim(models=["uno"], limit=2, replica_id="r2", lease_s=LONG_S)) == len(elsewhere)
    third, fourth, *_ = [await submit() for _ in range(1 + MANY)]
    pipeline = EndlessPipeline(step_s=0.2)
    async with running(make_replica(pipeline, ahead_s=0.5, poll_s=LONG_S)):
        await until(fourth, TaskState.RUNNING)

        assert (await until(third)).state is TaskState.RUNNING
        pipeline.gate.set()
        await until(third, TaskState.SUCCEEDED)


async def test_a_task_that_ends_well_is_not_lost(
    database_url: str, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """A claim is over once its task has succeeded; who looks for what was taken away just then finds nothing lost."""
    store, lost = await SlowToSayStore.open(database_url), value_of(LEASES_LOST)
    store.written, store.seen = asyncio.Event(), asyncio.Event()
    try:
        async with running(make_replica(SolidPipeline(), store=store, capacity=1)):
            await until(await submit(), TaskState.SUCCEEDED)
            await until(await submit(), TaskState.SUCCEEDED)  # there is room for it once the first is done with

            assert value_of(LEASES_LOST) == lost
    finally:
        await store.close()
