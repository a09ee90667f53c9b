"""A replica on a real store and real sinks, with a pipeline whose steps cost nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from solid_pipeline import SolidPipeline

from deployments.delivery.files import FilesSink
from deployments.delivery.inline import InlineSink
from deployments.delivery.sink import EncodedImage
from deployments.errors import FaultKind
from deployments.housekeeper import Housekeeper
from deployments.outbound.references import ReferenceFetcher
from deployments.replica import Doors, Limits, Replica
from deployments.tasks.signals import StoreSignal
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task, TaskState
from models.engine import Engine
from models.request import GenerationRequest, Reference, Role

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
#: Beats come four times as often.
LEASE_S = 0.8


class BrokenSink:
    """A sink whose disk is full."""

    async def put(self, name: str, image: EncodedImage) -> str:
        """Fail."""
        raise OSError(f"no space left for {name}, {len(image.content)} bytes")

    def link(self, value: str, *, base_url: str) -> str:
        """Never called, for nothing is ever placed."""
        return base_url + value


@pytest.fixture
def pipeline() -> SolidPipeline:
    """Return the pipeline behind the engine."""
    return SolidPipeline()


@pytest.fixture
def make_replica(
    store: TaskStore, signal: StoreSignal, files: FilesSink, pipeline: SolidPipeline
) -> Callable[..., Replica]:
    """Return a maker of replicas on the same store."""

    def make(name: str = "r1", **limits: Any) -> Replica:
        doors = Doors(
            store=store,
            signal=signal,
            fetcher=ReferenceFetcher(allow_private_networks=False),
            sinks={"files": files, "inline": InlineSink(), "broken": BrokenSink()},
        )
        plain: dict[str, Any] = {"capacity": 4, "lease_s": LEASE_S}
        return Replica(name, engine=Engine({"uno": pipeline}), doors=doors, limits=Limits(**(plain | limits)))

    return make


@asynccontextmanager
async def running(replica: Replica) -> AsyncIterator[None]:
    """Run a replica for the length of a block."""
    task = asyncio.create_task(replica.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def until(store: TaskStore, signal: StoreSignal) -> Callable[..., Awaitable[Task]]:
    """Return a waiter for a task to satisfy a condition."""

    async def wait(task: Task, is_so: Callable[[Task], bool]) -> Task:
        async with asyncio.timeout(20):
            while True:
                seen = signal.mark()
                found = await store.read(task.id, tenant_id=task.tenant_id)
                assert found is not None
                if is_so(found):
                    return found
                await signal.wait(seen, timeout_s=1)

    return wait


def has_ended(task: Task) -> bool:
    """Whether a task is in a terminal state."""
    return task.state.is_terminal


async def test_a_task_is_carried_out(
    store: TaskStore, make_replica: Callable[..., Replica], make_task: MakeTask, make_request: MakeRequest, until: Any
) -> None:
    """A queued task succeeds with one output per picture, its seeds in order, its steps counted."""
    task = make_task(sink="inline")
    await store.insert(task, make_request(num_images=2, seed=5, num_inference_steps=3))

    async with running(make_replica()):
        ended = await until(task, has_ended)

    assert ended.state is TaskState.SUCCEEDED
    assert [output.seed for output in ended.outputs] == [5, 6]
    assert ended.attempt == 1


async def test_outputs_hash_as_recorded(
    store: TaskStore,
    files: FilesSink,
    make_replica: Callable[..., Replica],
    make_task: MakeTask,
    make_request: MakeRequest,
    until: Any,
) -> None:
    """The file a success names holds the bytes it recorded."""
    task = make_task()
    await store.insert(task, make_request())

    async with running(make_replica()):
        [output] = (await until(task, has_ended)).outputs

    content = (await files.open_link(output.value)).path.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (output.size_bytes, output.sha256)


async def test_a_bad_reference_fails_the_task_and_says_which(
    store: TaskStore, make_replica: Callable[..., Replica], make_task: MakeTask, make_request: MakeRequest, until: Any
) -> None:
    """A reference at a private address is refused by position, and the engine never sees the task."""
    task = make_task()
    sources = ["data:image/png;base64,AAAA", "http://127.0.0.1:9/a.png"]
    references = tuple(Reference(role=Role.SUBJECT, source=source) for source in reversed(sources))
    await store.insert(task, make_request(references=references))

    async with running(make_replica()):
        ended = await until(task, has_ended)

    assert ended.fault is not None
    assert ended.fault.kind is FaultKind.REFERENCE_UNUSABLE
    assert ended.fault.message.startswith("reference ")


async def test_a_poisoned_task_fails_and_its_neighbours_do_not(
    store: TaskStore, make_replica: Callable[..., Replica], make_task: MakeTask, make_request: MakeRequest, until: Any
) -> None:
    """A task that breaks the model fails with a fault that tells nothing of our insides."""
    good, bad = make_task(), make_task()
    await store.insert(bad, make_request(prompt="break at step 1"))
    await store.insert(good, make_request())

    async with running(make_replica()):
        ended = [await until(task, has_ended) for task in (bad, good)]

    assert [task.state for task in ended] == [TaskState.FAILED, TaskState.SUCCEEDED]
    assert ended[0].fault is not None
    assert ended[0].fault.kind is FaultKind.ENGINE_FAILED
    assert "break" not in ended[0].fault.message


async def test_work_that_outlasts_its_lease_keeps_it(
    store: TaskStore, make_replica: Callable[..., Replica], make_task: MakeTask, make_request: MakeRequest, until: Any
) -> None:
    """A task whose steps go on is beaten for, so no rescue takes it away."""
    task = make_task()
    await store.insert(task, make_request(num_inference_steps=50, num_images=20))
    slow = make_replica(capacity=1)
    rescued = 0

    async with running(slow):
        while not has_ended(ended := await until(task, lambda _: True)):
            rescued += (await store.rescue()).requeued

    assert (rescued, ended.attempt) == (0, 1)


async def test_a_hung_step_loses_its_lease(
    store: TaskStore,
    pipeline: SolidPipeline,
    make_replica: Callable[..., Replica],
    make_task: MakeTask,
    make_request: MakeRequest,
    until: Any,
) -> None:
    """While a step does not return, its replica gives no sign of life and the task is rescued."""
    task = make_task()
    await store.insert(task, make_request())
    pipeline.gate.clear()

    async with running(make_replica(capacity=1)):
        await until(task, lambda task: task.state is TaskState.RUNNING)
        async with asyncio.timeout(10):
            while not (await store.rescue()).requeued:  # noqa: ASYNC110 -- a lease ends by the clock, and no event says so
                await asyncio.sleep(0.05)
        pipeline.gate.set()
        ended = await until(task, has_ended)

    assert ended.state is TaskState.SUCCEEDED
    assert ended.attempt == 2


async def test_a_cancelled_task_is_let_go(
    store: TaskStore,
    pipeline: SolidPipeline,
    make_replica: Callable[..., Replica],
    make_task: MakeTask,
    make_request: MakeRequest,
    until: Any,
) -> None:
    """A task cancelled while it runs stays cancelled, and its replica goes on with the next."""
    cancelled, following = make_task(), make_task()
    await store.insert(cancelled, make_request(num_inference_steps=50))
    pipeline.gate.clear()

    async with running(make_replica(capacity=1)):
        await until(cancelled, lambda task: task.state is TaskState.RUNNING)
        await store.cancel(cancelled.id, tenant_id=cancelled.tenant_id)
        await store.insert(following, make_request())
        pipeline.gate.set()
        ended = await until(following, has_ended)

    assert ended.state is TaskState.SUCCEEDED
    assert (await until(cancelled, has_ended)).state is TaskState.CANCELLED


async def test_a_broken_sink_loses_no_task(
    store: TaskStore,
    files: FilesSink,
    make_replica: Callable[..., Replica],
    make_task: MakeTask,
    make_request: MakeRequest,
    until: Any,
) -> None:
    """While pictures cannot be placed the task is tried again, and in the end given up visibly."""
    task = make_task(sink="broken")
    await store.insert(task, make_request())
    housekeeper = Housekeeper(store=store, files=files)

    async with running(make_replica()):
        async with asyncio.timeout(20):
            while not (await housekeeper.run_once()).quarantined:  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.05)
        ended = await until(task, has_ended)

    assert ended.attempt == 3
    assert ended.fault is not None
    assert ended.fault.kind is FaultKind.QUARANTINED


async def test_stopping_hands_unfinished_work_back_at_once(
    store: TaskStore,
    pipeline: SolidPipeline,
    make_replica: Callable[..., Replica],
    make_task: MakeTask,
    make_request: MakeRequest,
    until: Any,
) -> None:
    """A replica that is told to stop leaves its tasks queued, and the attempt does not count."""
    task = make_task()
    await store.insert(task, make_request())
    pipeline.gate.clear()

    async with running(make_replica(lease_s=3600)):
        await until(task, lambda task: task.state is TaskState.RUNNING)
    pipeline.gate.set()

    after = await until(task, lambda _: True)
    assert (after.state, after.attempt) == (TaskState.QUEUED, 0)


async def test_it_claims_no_more_than_it_has_room_for(
    store: TaskStore,
    pipeline: SolidPipeline,
    make_replica: Callable[..., Replica],
    make_task: MakeTask,
    make_request: MakeRequest,
    until: Any,
) -> None:
    """With room for two, the third task stays queued for another replica."""
    tasks = [make_task() for _ in range(3)]
    for task in tasks:
        await store.insert(task, make_request())
    pipeline.gate.clear()
    replica = make_replica(capacity=2)

    async with running(replica):
        await until(tasks[1], lambda task: task.state is TaskState.RUNNING)
        await asyncio.to_thread(pipeline.waiting.wait, 10)
        backlog = await store.backlog()
        text = repr(replica)
        pipeline.gate.set()
        await until(tasks[2], has_ended)

    assert backlog["uno"] == {TaskState.QUEUED: 1, TaskState.RUNNING: 2}
    assert text == "<Replica r1 [2 of 2 tasks]>"
