"""A replica when tasks are taken from it, when a model cannot prepare them, and when the store is away for a while."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import structlog
from PIL import Image
from running_replica import decode_here, running
from solid_pipeline import SolidPipeline, SolidSample

from deployments.database.signals import StoreSignal
from deployments.delivery.sink import Sink
from deployments.errors import FaultKind, Unavailable
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.refused import ReferenceRefused
from deployments.outbound.rules import Rules
from deployments.pictures import read_picture
from deployments.replica.bringing import Fetcher
from deployments.replica.doors import Doors
from deployments.replica.limits import Limits
from deployments.replica.replica import DeviceStuck, Replica
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Fault, Task, TaskState
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import LEASES_LOST, RESIDENT_SAMPLES
from models.engine import Engine
from models.pipeline import DeviceBroken
from models.report import StepReport
from models.request import GenerationRequest, Reference, Role, UnusableReference
from models.sample import Sample

Submit = Callable[..., Awaitable[Task]]
Until = Callable[..., Awaitable[Task]]
#: Beats come every 10 ms, so that bad news is heard early; nobody rescues here, so the lease itself never ends.
LEASE_S = 0.04


class PickyPipeline(SolidPipeline):
    """Refuses prompts that ask for it, as a model does with pictures it cannot use, or because it is broken."""

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Refuse, break, or prepare."""
        if request.prompt == "device lost at prepare":
            raise DeviceBroken
        if request.prompt == "too thin":
            raise UnusableReference(2, "is too thin")
        if request.prompt == "break at prepare":
            raise RuntimeError(request.prompt)
        return super().prepare(request_id, request, images)

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Lose the device, or step."""
        if any(isinstance(sample, SolidSample) and sample.prompt == "device lost at step" for sample in group):
            raise DeviceBroken
        return super().step(group)


class BadThenGood:
    """Brings a bad picture to whoever asks first, but only once somebody else has asked, and good ones after that."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._again = asyncio.Event()
        self._was_bad = asyncio.Event()

    async def fetch(self, _source: str, *, tenant_id: str) -> bytes:  # noqa: ARG002 -- the protocol's argument
        """Wait for the other, then bring what is promised."""
        if self.asked.is_set():
            self._again.set()
            await self._was_bad.wait()
            return read_picture("mug")
        self.asked.set()
        await self._again.wait()
        self._was_bad.set()
        raise ReferenceRefused("is not a picture")


class AwayOnce:
    """Cannot bring anything the first time, for a reason that is nobody's fault."""

    def __init__(self, trouble: Exception) -> None:
        self._trouble = trouble
        self._was_asked = False

    async def fetch(self, _source: str, *, tenant_id: str) -> bytes:  # noqa: ARG002 -- the protocol's argument
        """Fail once, then bring a picture."""
        if not self._was_asked:
            self._was_asked = True
            raise self._trouble
        return read_picture("mug")


class OneThreadEngine(Engine):
    """Looks into itself on the device's thread alone; elsewhere it might be changing meanwhile."""

    @property
    def resident_samples(self) -> int:
        """Count, where that is safe."""
        if not threading.current_thread().name.startswith("device"):
            raise RuntimeError("dictionary changed size during iteration")
        return super().resident_samples


class StumblingEngine(Engine):
    """Takes its first two steps, and stumbles over the third."""

    def __init__(self, pipelines: Mapping[str, PickyPipeline]) -> None:
        super().__init__(pipelines)
        self._steps_until_fall = 3

    def step(self, *, first: Collection[str] = ()) -> StepReport:
        """Stumble, or step."""
        self._steps_until_fall -= 1
        if not self._steps_until_fall:
            raise RuntimeError("stumbled")
        return super().step(first=first)


class FallenEngine(Engine):
    """Raises at every step, and not for what it steps."""

    def step(self, *, first: Collection[str] = ()) -> StepReport:  # noqa: ARG002 -- the engine's argument
        """Fall."""
        raise RuntimeError("fell")


class FailingPipeline(SolidPipeline):
    """Computes nothing any more, and does not know it."""

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Fail as a library does that never heard of a lost device."""
        raise RuntimeError(f"an internal error with {len(group)} samples")


class KeepingStore(TaskStore):
    """A store in which one task cannot be handed back."""

    kept = ""

    async def release(self, task_id: str, *, fence: int) -> bool:
        """Refuse for that one."""
        if task_id == self.kept:
            raise Unavailable
        return await super().release(task_id, fence=fence)


@pytest.fixture
def pipeline() -> PickyPipeline:
    """Return the pipeline behind the engine."""
    return PickyPipeline()


@pytest.fixture
def make_replica(
    store: TaskStore, signal: StoreSignal, sinks: Mapping[str, Sink], pipeline: PickyPipeline
) -> Callable[[], Replica]:
    """Return a maker of replicas with room for one task; give it the doors and limits that matter."""

    def make(
        *,
        fetcher: Fetcher | None = None,
        store: TaskStore = store,
        capacity: int = 1,
        stuck_s: float = 60,
        engine: Engine | None = None,
    ) -> Replica:
        fetcher = fetcher or ReferenceFetcher(GuardedClient(Rules()))
        doors = Doors(store=store, signal=signal, fetcher=fetcher, decode=decode_here, sinks=sinks)
        limits = Limits(capacity=capacity, lease_s=LEASE_S, stuck_s=stuck_s)
        return Replica("r1", engine=engine or Engine({"uno": pipeline}), doors=doors, limits=limits)

    return make


@pytest.fixture
async def replica(make_replica: Callable[[], Replica]) -> AsyncIterator[Replica]:
    """Return a replica that runs until the test ends."""
    replica = make_replica()
    async with running(replica):
        yield replica


@pytest.fixture
def round_failed() -> Iterator[asyncio.Event]:
    """Return an event that is set once a round of a replica has failed, which only its log tells."""
    failed = asyncio.Event()

    def listen(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event["event"] == "round_failed":
            failed.set()
        raise structlog.DropEvent

    structlog.configure(processors=[listen])
    yield failed
    structlog.reset_defaults()


@pytest.mark.usefixtures("replica")
async def test_a_cancelled_task_stops_stepping(
    store: TaskStore, pipeline: PickyPipeline, submit: Submit, until: Until
) -> None:
    """It hears of the cancel while the work goes on: most steps are never taken, the next runs, no lease is lost."""
    lost = value_of(LEASES_LOST)
    cancelled = await submit(num_images=20, num_inference_steps=50)
    await until(cancelled, TaskState.RUNNING)

    await store.cancel(cancelled.id, tenant_id=cancelled.tenant_id)
    await until(await submit(num_inference_steps=1), TaskState.SUCCEEDED)

    steps_taken = sum(key[0] == cancelled.id for group in pipeline.groups for key in group)
    assert steps_taken < 20 * 50
    assert (await until(cancelled, TaskState.CANCELLED)).outputs == ()
    assert value_of(LEASES_LOST) == lost


@pytest.mark.usefixtures("replica")
@pytest.mark.parametrize(
    ("prompt", "fault"),
    [
        ("too thin", Fault(kind=FaultKind.REFERENCE_UNUSABLE, message="reference 2 is too thin")),
        ("break at prepare", Fault(kind=FaultKind.ENGINE_FAILED, message="The model could not make this picture.")),
    ],
)
async def test_what_a_model_cannot_prepare_fails_by_itself(
    submit: Submit, until: Until, prompt: str, fault: Fault
) -> None:
    """A request that cannot be prepared fails with the reason that is the caller's to know, and the next one runs."""
    bad, good = await submit(prompt=prompt), await submit()

    ended = await until(bad, TaskState.FAILED)

    assert ended.fault == fault
    await until(good, TaskState.SUCCEEDED)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_mistake_that_shows_later_is_still_the_callers(
    make_replica: Callable[..., Replica], pipeline: PickyPipeline, submit: Submit, until: Until
) -> None:
    """What is prepared only once there is memory for it, and cannot be, fails with the reason as it would at once."""
    engine = Engine({"uno": pipeline}, max_bytes=1)
    async with running(make_replica(capacity=2, engine=engine)):
        await until(await submit(num_inference_steps=1), TaskState.SUCCEEDED)  # it knows now how long a step takes
        pipeline.gate.clear()
        await submit()
        await asyncio.to_thread(pipeline.waiting.wait, 20)
        bad = await submit(prompt="too thin")
        await until(bad, TaskState.RUNNING)
        pipeline.gate.set()
        ended = await until(bad, TaskState.FAILED)

    assert ended.fault == Fault(kind=FaultKind.REFERENCE_UNUSABLE, message="reference 2 is too thin")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_store_that_was_away_is_used_again(
    make_replica: Callable[[], Replica], tmp_path: Path, round_failed: asyncio.Event, submit: Submit, until: Until
) -> None:
    """A replica whose store cannot be reached goes on asking, and works when it is back."""
    task = await submit()
    os.rename(tmp_path / "uxo.db", tmp_path / "away.db")  # noqa: PTH104 -- no pathlib in a coroutine

    async with running(make_replica()):
        await asyncio.wait_for(round_failed.wait(), 20)
        os.rename(tmp_path / "away.db", tmp_path / "uxo.db")  # noqa: PTH104 -- the same
        ended = await until(task, TaskState.SUCCEEDED)

    assert ended.attempt == 1


async def test_nobody_looks_into_an_engine_that_may_be_changing(
    make_replica: Callable[..., Replica], pipeline: PickyPipeline, store: TaskStore, submit: Submit, until: Until
) -> None:
    """What it holds is counted on the device's own thread, after a step and after a cancel; so no picture is lost."""
    async with running(make_replica(engine=OneThreadEngine({"uno": pipeline}))):
        await until(await submit(), TaskState.SUCCEEDED)
        pipeline.gate.clear()
        cancelled = await submit(num_inference_steps=50)
        await asyncio.to_thread(pipeline.waiting.wait, 20)
        await store.cancel(cancelled.id, tenant_id=cancelled.tenant_id)
        pipeline.gate.set()
        await until(await submit(), TaskState.SUCCEEDED)

    assert value_of(RESIDENT_SAMPLES) == 0


@pytest.mark.usefixtures("round_failed")
async def test_a_step_that_goes_wrong_leaves_nothing_standing(
    make_replica: Callable[..., Replica], pipeline: PickyPipeline, submit: Submit, until: Until
) -> None:
    """When the engine itself stumbles, what it holds is stepped on, without anything new having to come."""
    task = await submit(num_inference_steps=4)

    async with running(make_replica(engine=StumblingEngine({"uno": pipeline}))):
        ended = await until(task, TaskState.SUCCEEDED)

    assert ended.attempt == 1


async def test_a_device_that_hangs_ends_its_replica(
    make_replica: Callable[..., Replica], pipeline: PickyPipeline, store: TaskStore, submit: Submit, until: Until
) -> None:
    """When a step does not return, the replica gives up with its reason, and can be replaced; its task's lease ends."""
    task = await submit()
    pipeline.gate.clear()

    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(make_replica(stuck_s=0.05).run(asyncio.Event()), 20)

    pipeline.gate.set()
    assert ended.group_contains(DeviceStuck)
    await _until_rescued(store)
    assert (await until(task, TaskState.QUEUED)).attempt == 1


@pytest.mark.parametrize("prompt", ["device lost at prepare", "device lost at step"])
async def test_a_task_that_loses_every_device_is_quarantined(
    make_replica: Callable[..., Replica], store: TaskStore, submit: Submit, until: Until, prompt: str
) -> None:
    """A device that says that it is lost ends its replica at once; what it was at then has three attempts in all."""
    task = await submit(prompt=prompt)

    for _ in range(3):
        await _until_lost(make_replica())
        await _until_rescued(store)
    ended = await until(task, TaskState.FAILED)

    assert ended.fault is not None
    assert (ended.fault.kind, ended.attempt) == (FaultKind.QUARANTINED, 3)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_lost_device_blames_no_bystander(
    make_replica: Callable[..., Replica], pipeline: PickyPipeline, submit: Submit, until: Until
) -> None:
    """Of two tasks that a replica holds, the one that the device was not at goes back as if it had not been begun."""
    engine = Engine({"uno": pipeline})
    async with running(make_replica(engine=engine)):
        await until(await submit(num_inference_steps=1), TaskState.SUCCEEDED)
    bystander = await submit(num_inference_steps=50)
    replica = make_replica(capacity=2, engine=engine)
    replica._custody.note_step(0.001)  # it knows how long a step takes, so it claims both
    pipeline.gate.clear()
    losing = asyncio.create_task(_until_lost(replica))
    await asyncio.to_thread(pipeline.waiting.wait, 20)
    culprit = await submit(prompt="device lost at prepare")
    await until(culprit, TaskState.RUNNING)
    pipeline.gate.set()
    await losing

    attempts = [(await until(bystander, TaskState.QUEUED)).attempt, (await until(culprit, TaskState.RUNNING)).attempt]

    assert attempts == [0, 1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_device_that_fails_at_everything_fails_no_task(
    make_replica: Callable[..., Replica], submit: Submit, until: Until
) -> None:
    """Where a made-up picture fails as well, the replica ends instead of failing one task after the other."""
    tasks = [await submit(), await submit()]

    await _until_lost(make_replica(engine=Engine({"uno": FailingPipeline()})))

    after = [await until(task, TaskState.RUNNING, TaskState.QUEUED) for task in tasks]
    assert [(task.state, task.attempt) for task in after] == [(TaskState.RUNNING, 1), (TaskState.QUEUED, 0)]


@pytest.mark.usefixtures("round_failed")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_engine_that_falls_at_every_step_is_given_up(
    make_replica: Callable[..., Replica], pipeline: PickyPipeline, submit: Submit, until: Until
) -> None:
    """Three steps in a row that go wrong in the engine itself end its replica; what it held has lost an attempt."""
    task = await submit()

    await _until_lost(make_replica(engine=FallenEngine({"uno": pipeline})))

    after = await until(task, TaskState.RUNNING)
    assert after.attempt == 1


async def _until_lost(replica: Replica) -> None:
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(replica.run(asyncio.Event()), 20)
    assert ended.group_contains(DeviceBroken)


async def _until_rescued(store: TaskStore) -> None:
    async with asyncio.timeout(20):
        while not any(astuple(await store.rescue())):  # noqa: ASYNC110 -- the end of a lease sets no event
            await asyncio.sleep(0.01)


async def test_a_task_claimed_again_is_fed_for_its_newest_claim(
    make_replica: Callable[..., Replica], store: TaskStore, submit: Submit, until: Until
) -> None:
    """When the first claim's references turn out bad after the same task was claimed again, the new claim goes on."""
    fetcher = BadThenGood()
    async with running(make_replica(fetcher=fetcher)):
        task = await submit(references=(Reference(role=Role.SUBJECT, source="http://a/b.png"),))
        await asyncio.wait_for(fetcher.asked.wait(), 20)
        await store.release(task.id, fence=1)

        ended = await until(task, TaskState.SUCCEEDED, TaskState.FAILED)

    assert (ended.state, ended.fence) == (TaskState.SUCCEEDED, 2)


@pytest.mark.parametrize("trouble", [OSError("the bucket is away"), Unavailable()], ids=["sink", "database"])
async def test_what_is_ours_and_away_fails_no_task(
    make_replica: Callable[..., Replica], store: TaskStore, submit: Submit, until: Until, trouble: Exception
) -> None:
    """When our own sink cannot be read, or our database not asked, the task is tried again after its lease."""
    async with running(make_replica(fetcher=AwayOnce(trouble))):
        task = await submit(references=(Reference(role=Role.SUBJECT, source="bucket:tenant-alice/a"),))
        await _until_rescued(store)

        ended = await until(task, TaskState.SUCCEEDED, TaskState.FAILED)

    assert (ended.state, ended.attempt) == (TaskState.SUCCEEDED, 2)


async def test_one_task_that_cannot_be_handed_back_keeps_no_other(
    make_replica: Callable[..., Replica], database_url: str, pipeline: PickyPipeline, submit: Submit, until: Until
) -> None:
    """A replica that stops hands back every task, though the store refuses one of them."""
    keeping = await KeepingStore.open(database_url)
    async with running(make_replica(capacity=2, store=keeping)):
        await until(await submit(), TaskState.SUCCEEDED)  # it knows now how long a step takes
        pipeline.gate.clear()
        tasks = [await submit(), await submit()]
        keeping.kept = tasks[0].id
        for task in tasks:
            await until(task, TaskState.RUNNING)
    pipeline.gate.set()
    await keeping.close()

    states = [(await until(task)).state for task in tasks]

    assert states == [TaskState.RUNNING, TaskState.QUEUED]
