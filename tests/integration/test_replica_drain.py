"""A replica told to stop, a cancel heard of between two beats, models that take turns, and time that is not work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from running_replica import decode_here, running
from solid_pipeline import SolidPipeline

from deployments.database.database import Database
from deployments.database.signals import StoreSignal
from deployments.delivery.inline import InlineSink
from deployments.delivery.sink import EncodedImage, Sink
from deployments.leaving import Node
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.replica.doors import Doors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.tasks.backlog import read_backlog
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task, TaskState
from models.engine import Engine
from models.request import GenerationRequest

Submit = Callable[..., Awaitable[Task]]
Until = Callable[..., Awaitable[Task]]
MakeReplica = Callable[..., Replica]
#: No lease ends and no beat comes within a test, so nothing that happens is owed to them.
LEASE_S = 3600.0
#: Longer than any test may take.
LONG_S = 3600.0


class SlowSink(InlineSink):
    """A sink that takes its pictures when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.was_left = asyncio.Event()

    async def put(self, name: str, image: EncodedImage, *, tenant_id: str = "", lifetime_s: float | None = None) -> str:
        """Wait, then take it."""
        self.asked.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.was_left.set()
            raise
        return await super().put(name, image, tenant_id=tenant_id, lifetime_s=lifetime_s)


@pytest.fixture
def pipeline() -> SolidPipeline:
    """Return the pipeline behind the engine."""
    return SolidPipeline()


@pytest.fixture
def slow_sink() -> SlowSink:
    """Return a sink that takes nothing yet."""
    return SlowSink()


@pytest.fixture
def make_replica(
    store: TaskStore,
    signal: StoreSignal,
    sinks: Mapping[str, Sink],
    slow_sink: SlowSink,
    pipeline: SolidPipeline,
) -> MakeReplica:
    """Return a maker of replicas for two models, with room for one task if nothing else is said."""

    def make(*, name: str = "r1", capacity: int = 1, drain_s: float = LONG_S) -> Replica:
        fetcher = ReferenceFetcher(GuardedClient(Rules()))
        doors = Doors(
            store=store, signal=signal, fetcher=fetcher, decode=decode_here, sinks={**sinks, "slow": slow_sink}
        )
        limits = Limits(capacity=capacity, lease_s=LEASE_S, stuck_s=LONG_S, drain_s=drain_s)
        return Replica(name, engine=Engine({"uno": pipeline, "uso": pipeline}), doors=doors, limits=limits)

    return make


@asynccontextmanager
async def told_to_stop(replica: Replica, *, once: Awaitable[object]) -> AsyncIterator[None]:
    """Run a replica, and tell it to stop once something has come about; the block runs while it stops."""
    stopping = asyncio.Event()
    running = asyncio.create_task(replica.run(stopping))
    await asyncio.wait_for(once, 20)
    stopping.set()
    yield
    await asyncio.wait_for(running, 20)


async def test_what_is_begun_is_finished_and_nothing_more_is_claimed(
    make_replica: MakeReplica, pipeline: SolidPipeline, submit: Submit, until: Until
) -> None:
    """A replica that is told to stop carries out the task it has, and leaves the next one to others, untouched."""
    begun, next_one = await submit(), await submit()
    pipeline.gate.clear()

    async with told_to_stop(make_replica(), once=until(begun, TaskState.RUNNING)):
        pipeline.gate.set()

    assert [(task.state, task.attempt) for task in (await until(begun), await until(next_one))] == [
        (TaskState.SUCCEEDED, 1),
        (TaskState.QUEUED, 0),
    ]


@asynccontextmanager
async def on_a_node(node: Node, replica: Replica) -> AsyncIterator[None]:
    """Run a replica on a node for the length of a block, as ``app.run_replica`` does."""
    stopping = asyncio.Event()

    async def run() -> None:
        async with node.staying(stopping, since_s=0.0) as ending:
            await replica.run(ending)

    running = asyncio.create_task(run())
    yield
    stopping.set()
    await asyncio.wait_for(running, 20)


async def test_a_node_that_leaves_ends_its_tasks_and_another_goes_on(
    make_replica: MakeReplica, pipeline: SolidPipeline, submit: Submit, until: Until, tmp_path: Path
) -> None:
    """The old cluster's replica ends what it has begun once its node leaves; what waits is the new cluster's."""
    old, new = Node(folder=tmp_path / "old"), Node(folder=tmp_path / "new")
    begun, next_one = await submit(), await submit()
    pipeline.gate.clear()

    async with on_a_node(old, make_replica()):
        await until(begun, TaskState.RUNNING)
        old.leave()
        leaving = asyncio.create_task(old.until_left())
        async with on_a_node(new, make_replica(name="r2")):
            await until(next_one, TaskState.RUNNING)
            is_waited_for = not leaving.done()
            pipeline.gate.set()
            await asyncio.wait_for(leaving, 20)
            ended = [await until(task, TaskState.SUCCEEDED) for task in (begun, next_one)]
        left_alone = await submit()
        async with on_a_node(new, make_replica(name="r2")):
            ended.append(await until(left_alone, TaskState.SUCCEEDED))

    assert is_waited_for
    assert [(task.state, task.attempt) for task in ended] == [(TaskState.SUCCEEDED, 1)] * 3


async def test_what_is_being_delivered_is_delivered(
    make_replica: MakeReplica, slow_sink: SlowSink, submit: Submit, until: Until
) -> None:
    """A picture that is drawn already is not drawn again by another replica because this one stops."""
    task = await submit(sink="slow")

    async with told_to_stop(make_replica(), once=slow_sink.asked.wait()):
        slow_sink.go_on.set()

    ended = await until(task)
    assert (ended.state, len(ended.outputs)) == (TaskState.SUCCEEDED, 1)


async def test_what_does_not_fit_is_handed_back_at_once(
    make_replica: MakeReplica, pipeline: SolidPipeline, submit: Submit, until: Until
) -> None:
    """When the time to finish is over, what is left is queued again, unblamed, long before its lease would end."""
    tasks: list[Task] = []

    async def two_held() -> None:
        await until(await submit(), TaskState.SUCCEEDED)  # it knows now how long a step takes
        pipeline.gate.clear()
        tasks.extend([await submit(), await submit()])
        await until(tasks[1], TaskState.RUNNING)

    async with told_to_stop(make_replica(capacity=2, drain_s=0.05), once=two_held()):
        pass
    pipeline.gate.set()

    assert [((await until(task)).state, (await until(task)).attempt) for task in tasks] == [(TaskState.QUEUED, 0)] * 2


async def test_what_cannot_be_delivered_is_handed_back(
    make_replica: MakeReplica, slow_sink: SlowSink, submit: Submit, until: Until
) -> None:
    """A replica that stops while a sink does not take its picture leaves the sink, and hands the task back unblamed."""
    task = await submit(sink="slow")

    async with told_to_stop(make_replica(drain_s=0.05), once=slow_sink.asked.wait()):
        pass

    ended = await until(task)
    assert (ended.state, ended.attempt, ended.outputs) == (TaskState.QUEUED, 0, ())
    assert slow_sink.was_left.is_set()


async def test_a_picture_that_nobody_wants_is_not_placed_any_more(
    make_replica: MakeReplica, slow_sink: SlowSink, store: TaskStore, submit: Submit, until: Until
) -> None:
    """A cancel is heard while a sink takes its time: it is left, and the next task runs."""
    cancelled = await submit(sink="slow")

    async with running(make_replica()):
        await asyncio.wait_for(slow_sink.asked.wait(), 20)
        await store.cancel(cancelled.id, tenant_id="alice")
        await asyncio.wait_for(slow_sink.was_left.wait(), 20)
        await until(await submit(), TaskState.SUCCEEDED)

    assert (await until(cancelled)).outputs == ()


async def test_what_was_placed_of_a_cancelled_task_is_taken_back(
    make_replica: MakeReplica,
    slow_sink: SlowSink,
    store: TaskStore,
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
    tmp_path: Path,
) -> None:
    """A task is cancelled between two sinks: the picture that is in the first one by then does not stay there."""
    task = await store.accept(make_task(sinks=("files", "slow")), make_request())

    async with running(make_replica()):
        await asyncio.wait_for(slow_sink.asked.wait(), 20)
        placed = on_disk(tmp_path)
        await store.cancel(task.id, tenant_id="alice")
        await asyncio.wait_for(slow_sink.was_left.wait(), 20)
        async with asyncio.timeout(20):
            while on_disk(tmp_path):  # noqa: ASYNC110 -- a folder sets no event
                await asyncio.sleep(0.01)

    assert len(placed) == 1


def on_disk(folder: Path) -> list[Path]:
    """Return the pictures below a folder."""
    return list(folder.rglob("*.jpg"))


async def test_a_replica_with_nothing_to_do_stops_at_once(make_replica: MakeReplica, store: TaskStore) -> None:
    """Nobody waits for an idle replica, however long it would have been given."""
    async with told_to_stop(make_replica(), once=store.ping()):
        pass


async def test_a_cancel_while_it_stops_is_heard(
    make_replica: MakeReplica, pipeline: SolidPipeline, store: TaskStore, submit: Submit, until: Until
) -> None:
    """A replica that finishes its last task lets go of it when it is cancelled, and then ends."""
    task = await submit()
    pipeline.gate.clear()

    async with told_to_stop(make_replica(), once=until(task, TaskState.RUNNING)):
        await store.cancel(task.id, tenant_id="alice")
    pipeline.gate.set()

    assert (await until(task)).state is TaskState.CANCELLED


async def test_a_cancel_is_heard_without_a_beat(
    make_replica: MakeReplica, pipeline: SolidPipeline, store: TaskStore, submit: Submit, until: Until
) -> None:
    """A cancel makes room as soon as it is written: no step starts after the one under way, and the next task runs."""
    cancelled = await submit(num_inference_steps=50)
    pipeline.gate.clear()
    replica = make_replica()

    async with running(replica):
        await asyncio.to_thread(pipeline.waiting.wait, 20)
        next_one = await submit()
        await store.cancel(cancelled.id, tenant_id="alice")
        await until(next_one, TaskState.RUNNING)
        pipeline.gate.set()
        await until(next_one, TaskState.SUCCEEDED)

    steps = [key for group in pipeline.groups for key in group if key[0] == cancelled.id]
    assert len(steps) <= 1


async def test_models_take_turns(
    make_replica: MakeReplica,
    pipeline: SolidPipeline,
    store: TaskStore,
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
    until: Until,
) -> None:
    """A replica of two models serves them in turn, though all of one came before all of the other."""
    tasks = [make_task(model=model, sinks=("inline",)) for model in ("uno", "uso") for _ in range(4)]
    for task in tasks:
        await store.accept(task, make_request(model=task.model, num_inference_steps=1))

    async with running(make_replica()):
        for task in tasks:
            await until(task, TaskState.SUCCEEDED)

    model_of = {task.id: task.model for task in tasks}
    served = [model_of[key[0]] for group in pipeline.groups for key in group]
    assert served in (["uno", "uso"] * 4, ["uso", "uno"] * 4)


async def test_a_slow_sink_makes_no_slow_device(
    make_replica: MakeReplica, slow_sink: SlowSink, database: Database, submit: Submit, until: Until
) -> None:
    """Of the time that a task took, that counts as its device's which had passed when delivering began, at most."""
    started_s = time.monotonic()
    task = await submit(sink="slow")

    async with running(make_replica()):
        await asyncio.wait_for(slow_sink.asked.wait(), 20)
        until_asked_s = time.monotonic() - started_s
        with suppress(TimeoutError):  # as long again, which is what must not count
            await asyncio.wait_for(slow_sink.was_left.wait(), 2 * until_asked_s)
        slow_sink.go_on.set()
        await until(task, TaskState.SUCCEEDED)

    [run] = (await read_backlog(database, ["uno"])).runs
    assert 0 < run.device_s < until_asked_s
