"""A replica on a real store and real sinks, with a pipeline whose steps cost nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping

import pytest
from running_replica import decode_here, running
from solid_pipeline import SolidPipeline

from deployments.database.database import Database
from deployments.database.signals import StoreSignal
from deployments.delivery.files import FilesSink
from deployments.delivery.inline import InlineSink
from deployments.delivery.sink import EncodedImage, Sink
from deployments.errors import FaultKind
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.replica.doors import Doors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.tasks.claim import MANY
from deployments.tasks.overview import Overview
from deployments.tasks.store import Rescued, TaskStore
from deployments.tasks.task import Task, TaskState
from deployments.tasks.waterfall import Part, waterfall_of
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import CLAIM_DELAY, DECODE_SECONDS, GROUP_SIZE, LEASES_LOST, STEP_GAP, STEP_SECONDS
from models.engine import Engine
from models.request import GenerationRequest, Reference, Role

Submit = Callable[..., Awaitable[Task]]
Until = Callable[..., Awaitable[Task]]
MakeReplica = Callable[..., Replica]
#: Every state from which a task never moves again.
ENDED = tuple(state for state in TaskState if state.is_terminal)
#: More steps than any test waits for.
ENDLESS = 1_000_000
#: The parts of a task that a replica measures.
MEASURED = list(Part)[2:-1]


class BrokenSink(InlineSink):
    """A sink whose disk is full."""

    async def put(self, name: str, image: EncodedImage, *, tenant_id: str = "", lifetime_s: float | None = None) -> str:
        """Fail."""
        raise OSError(f"no space left for {name} of {tenant_id}, {len(image.content)} bytes for {lifetime_s} s")


@pytest.fixture
def pipeline() -> SolidPipeline:
    """Return the pipeline behind the engine."""
    return SolidPipeline()


@pytest.fixture
def make_replica(
    store: TaskStore, signal: StoreSignal, sinks: Mapping[str, Sink], pipeline: SolidPipeline
) -> MakeReplica:
    """Return a maker of replicas on the same store."""

    def make(*, capacity: int = 4, lease_s: float = 0.8, ahead_s: float = 0.25) -> Replica:
        doors = Doors(
            store=store,
            signal=signal,
            fetcher=ReferenceFetcher(GuardedClient(Rules())),
            decode=decode_here,
            sinks={**sinks, "broken": BrokenSink()},
        )
        limits = Limits(capacity=capacity, lease_s=lease_s, ahead_s=ahead_s)
        return Replica("r1", engine=Engine({"uno": pipeline}), doors=doors, limits=limits)

    return make


async def test_a_task_is_carried_out(make_replica: MakeReplica, submit: Submit, until: Until) -> None:
    """A queued task succeeds on its first attempt, with one output per picture and their seeds in order."""
    task = await submit(num_images=2, seed=5, num_inference_steps=3)

    async with running(make_replica()):
        ended = await until(task, *ENDED)

    assert ended.state is TaskState.SUCCEEDED
    assert [output.seed for output in ended.outputs] == [5, 6]
    assert ended.attempt == 1


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat", MEASURED),
        ("break at prepare", MEASURED),
        ("break at step 2", MEASURED),
    ],
)
async def test_where_the_time_went_is_kept(
    make_replica: MakeReplica, submit: Submit, until: Until, prompt: str, parts: list[Part]
) -> None:
    """An end that a replica writes tells every part of the way there, whether it was a good one or not."""
    task = await submit(prompt=prompt, num_images=2)

    async with running(make_replica()):
        ended = await until(task, *ENDED)

    assert list(ended.spent) == parts
    assert [part for part in waterfall_of(ended) if part is not Part.OTHER] == [Part.QUEUED, *parts]


async def test_no_time_hides_in_the_last_part(make_replica: MakeReplica, submit: Submit, until: Until) -> None:
    """What is shown of the last part is what was measured of it, within 2 % of the attempt."""
    task = await submit(num_images=2)

    async with running(make_replica()):
        ended = await until(task, *ENDED)

    shown = waterfall_of(ended)
    ran_s = sum(shown.values()) - shown[Part.QUEUED]
    assert abs(shown[Part.DELIVERING] - ended.spent[Part.DELIVERING]) <= 0.02 * ran_s


async def test_what_the_device_does_is_measured(make_replica: MakeReplica, submit: Submit, until: Until) -> None:
    """Each step, each decoding and each claim counts once, and steps under the power of two that their shape fits."""

    def counts() -> list[float]:
        steps = value_of(STEP_SECONDS, "_count", model="uno", shape="131072")
        of_model = [value_of(each, "_count", model="uno") for each in (GROUP_SIZE, CLAIM_DELAY)]
        return [steps, *of_model, value_of(DECODE_SECONDS, "_count"), value_of(STEP_GAP, "_count")]

    before = counts()
    task = await submit(num_images=2, num_inference_steps=3)

    async with running(make_replica()):
        await until(task, *ENDED)

    assert [now - then for now, then in zip(counts(), before, strict=True)] == [6, 6, 1, 2, 5]


async def test_outputs_hash_as_recorded(
    files: FilesSink, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """The file a success names holds the bytes it recorded."""
    task = await submit(sink="files")

    async with running(make_replica()):
        [output] = (await until(task, *ENDED)).outputs

    content = (await files.open_link(output.value)).path.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (output.size_bytes, output.sha256)


async def test_a_bad_reference_fails_the_task_and_says_which(
    make_replica: MakeReplica, pipeline: SolidPipeline, submit: Submit, until: Until
) -> None:
    """A reference at a private address is refused by position, and the engine never sees the task."""
    task = await submit(references=(Reference(role=Role.SUBJECT, source="http://127.0.0.1:9/a.png"),))

    async with running(make_replica()):
        ended = await until(task, *ENDED)

    assert ended.fault is not None
    assert ended.fault.kind is FaultKind.REFERENCE_UNREACHABLE
    assert ended.fault.message == "reference 1 is not at a public address"
    assert pipeline.groups == []


async def test_a_poisoned_task_fails_and_its_neighbours_do_not(
    make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """A task that breaks the model fails with a fault that tells nothing of our insides."""
    bad, good = await submit(prompt="break at step 1"), await submit()

    async with running(make_replica()):
        ended = [await until(task, *ENDED) for task in (bad, good)]

    assert [task.state for task in ended] == [TaskState.FAILED, TaskState.SUCCEEDED]
    assert ended[0].fault is not None
    assert ended[0].fault.kind is FaultKind.ENGINE_FAILED
    assert "break" not in ended[0].fault.message


async def test_work_that_outlasts_its_lease_keeps_it(
    database: Database, store: TaskStore, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """A task whose steps go on is beaten for: its lease ends later than it would have, and no rescue takes it away."""
    task, overview = await submit(num_inference_steps=ENDLESS), Overview(database)

    async with running(make_replica(capacity=1, lease_s=5)):
        await until(task, TaskState.RUNNING)
        first = (await overview.show(task.id)).lease_expires_at
        async with asyncio.timeout(60):
            while (await overview.show(task.id)).lease_expires_at == first:  # noqa: ASYNC110 -- a beat wakes nobody
                await asyncio.sleep(0.05)
        rescued = await store.rescue()
        after = await until(task)

    assert rescued == Rescued(requeued=0, quarantined=0)
    assert (after.state, after.attempt) == (TaskState.RUNNING, 1)


async def test_a_hung_step_loses_its_lease(
    store: TaskStore, pipeline: SolidPipeline, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """While a step does not return, its replica gives no sign of life, and the task is rescued: a lease is lost."""
    task, lost = await submit(), value_of(LEASES_LOST)
    pipeline.gate.clear()

    async with running(make_replica(capacity=1)):
        await until(task, TaskState.RUNNING)
        async with asyncio.timeout(10):
            while not (await store.rescue()).requeued:  # noqa: ASYNC110 -- a lease ends by the clock, and no event says so
                await asyncio.sleep(0.05)
        pipeline.gate.set()
        ended = await until(task, *ENDED)

    assert ended.state is TaskState.SUCCEEDED
    assert ended.attempt == 2
    assert value_of(LEASES_LOST) == lost + 1


async def test_a_broken_sink_loses_no_task(
    store: TaskStore, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """While pictures cannot be placed the task is tried again, and in the end given up visibly."""
    task = await submit(sink="broken")

    async with running(make_replica()):
        async with asyncio.timeout(20):
            while not (await store.rescue()).quarantined:  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.05)
        ended = await until(task, *ENDED)

    assert ended.attempt == 3
    assert ended.fault is not None
    assert ended.fault.kind is FaultKind.QUARANTINED


async def test_stopping_hands_unfinished_work_back_at_once(
    pipeline: SolidPipeline, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """A replica that is told to stop leaves its tasks queued, and the attempt does not count."""
    task = await submit()
    pipeline.gate.clear()

    async with running(make_replica(lease_s=3600)):
        await until(task, TaskState.RUNNING)
    pipeline.gate.set()

    after = await until(task)
    assert (after.state, after.attempt) == (TaskState.QUEUED, 0)


@pytest.fixture
async def flood(
    store: TaskStore, make_task: Callable[..., Task], make_request: Callable[..., GenerationRequest]
) -> None:
    """Let many tasks of Alice wait, of a model that the replica has not, so that it leaves them."""
    for _ in range(MANY):
        await store.accept(make_task(tenant_id="alice", model="uso"), make_request(model="uso"))


@pytest.mark.usefixtures("flood")
async def test_a_first_task_overtakes_a_floods_third(
    store: TaskStore, pipeline: SolidPipeline, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """A busy replica takes and steps another tenant's first task before it goes on with a third of many."""
    elsewhere = [await submit(), await submit()]
    assert len(await store.claim(models=["uno"], limit=2, replica_id="r2", lease_s=3600)) == len(elsewhere)
    replica = make_replica(capacity=2, ahead_s=0)
    async with running(replica):
        await until(await submit(), TaskState.SUCCEEDED)  # it knows now how long a step takes
        pipeline.groups.clear()
        pipeline.gate.clear()
        third = await submit()
        await asyncio.to_thread(pipeline.waiting.wait, 10)
        fourth, first = await submit(), await submit(tenant_id="bob")
        assert await claims_nothing_more(replica)
        assert (await until(fourth)).state is TaskState.QUEUED
        pipeline.gate.set()
        await until(third, TaskState.SUCCEEDED)

    order = [request_id for [(request_id, _)] in pipeline.groups][:8]
    began = order.index(first.id)
    assert order[began : began + 4] == [first.id] * 4
    assert order[-1] == third.id  # it had begun before, and ends after
    assert order[0] == third.id


async def test_until_its_first_step_it_holds_one_task(
    store: TaskStore, signal: StoreSignal, pipeline: SolidPipeline, make_replica: MakeReplica, submit: Submit
) -> None:
    """A replica that knows nothing yet of its steps leaves what comes second to others, though it has room."""
    _, second = await submit(), await submit()
    pipeline.gate.clear()

    async with running(make_replica(capacity=2, lease_s=3600)):
        await asyncio.to_thread(pipeline.waiting.wait, 10)
        await signal.wait(signal.mark(), timeout_s=0.5)  # far longer than it leaves a task to others
        elsewhere = await store.claim(models=["uno"], limit=9, replica_id="r2", lease_s=3600)
        pipeline.gate.set()

    assert [claim.task.id for claim in elsewhere] == [second.id]


async def claims_nothing_more(replica: Replica) -> bool:
    """Return once a replica says that it holds two of two tasks; the row is written a moment before it knows."""
    async with asyncio.timeout(20):
        while repr(replica) != "<Replica r1 [2 of 2 tasks]>":  # noqa: ASYNC110 -- a replica tells nobody
            await asyncio.sleep(0.001)
    return True


async def test_it_claims_no_more_than_it_has_room_for(
    store: TaskStore, pipeline: SolidPipeline, make_replica: MakeReplica, submit: Submit, until: Until
) -> None:
    """With room for two, the third task stays queued for another replica."""
    replica = make_replica(capacity=2)

    async with running(replica):
        await until(await submit(), TaskState.SUCCEEDED)  # it knows now how long a step takes
        pipeline.gate.clear()
        tasks = [await submit() for _ in range(3)]
        await asyncio.to_thread(pipeline.waiting.wait, 10)
        await until(tasks[1], TaskState.RUNNING)
        is_full = await claims_nothing_more(replica)
        backlog = await store.backlog()
        pipeline.gate.set()
        await until(tasks[2], *ENDED)

    assert is_full
    assert backlog["uno"] == {TaskState.QUEUED: 1, TaskState.RUNNING: 2}
