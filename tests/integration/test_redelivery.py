"""Pictures that an upload address did not take: kept by us, told as a failure, and sent again to a fresh address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace

import pytest
from receiver import Receiver, receiving, status
from running_replica import decode_here, running
from solid_pipeline import SolidPipeline

from deployments.database.signals import StoreSignal
from deployments.delivery.files import FilesSink
from deployments.delivery.sink import Sink
from deployments.errors import BadCall, FaultKind, NotFound, UploadAddressRefused
from deployments.operations.caller import Caller
from deployments.operations.doors import Doors
from deployments.operations.operation import Redeliver
from deployments.operations.operations import Operations
from deployments.operations.outcome import TaskOutcome
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.replica.doors import Doors as ReplicaDoors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.tasks.accept import OnceKey
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task, TaskState
from deployments.tenants.directory import TenantDirectory
from models.engine import Engine
from models.request import GenerationRequest

ALICE = Caller(tenant_id="alice", dialect="wavespeed", base_url="https://here.example")
KEY = "runware:6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
PRICE = 30_000

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a running receiver."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def operations(make_doors: Callable[[], Doors]) -> Operations:
    """Return operations on an empty database."""
    return Operations(make_doors(), wait_s=20)


@pytest.fixture
async def undelivered(
    store: TaskStore,
    signal: StoreSignal,
    sinks: Mapping[str, Sink],
    make_task: MakeTask,
    make_request: MakeRequest,
    until: Callable[..., Awaitable[Task]],
) -> Task:
    """Return a task of two pictures that a replica drew and could not send: it has no upload at all."""
    task = make_task(dialect="runware", upload_url="https://pictures.example/", sinks=("files", "inline"), price=PRICE)
    await store.accept(task, make_request(num_images=2), once=OnceKey(key=KEY, fingerprint="f"))
    fetcher = ReferenceFetcher(GuardedClient(Rules()))
    doors = ReplicaDoors(store=store, signal=signal, fetcher=fetcher, decode=decode_here, sinks=sinks)
    limits = Limits(capacity=1, lease_s=60)
    async with running(Replica("r1", engine=Engine({"uno": SolidPipeline()}), doors=doors, limits=limits)):
        return await until(task, TaskState.FAILED, TaskState.SUCCEEDED)


async def redeliver(operations: Operations, task_id: str, url: str, caller: Caller = ALICE) -> Task:
    """Ask for the pictures to be sent."""
    outcome = await asyncio.wait_for(operations.perform(Redeliver(task_id=task_id, url=url), caller), 20)
    assert isinstance(outcome, TaskOutcome)
    return outcome.task


async def test_the_pictures_are_kept(undelivered: Task, files: FilesSink) -> None:
    """The task says that its delivery failed, in one attempt, and every sink has both pictures; none has a receipt."""
    assert (undelivered.state, undelivered.attempt) == (TaskState.FAILED, 1)
    assert undelivered.fault is not None
    assert undelivered.fault.kind is FaultKind.UPLOAD_FAILED
    assert [(each.sink, each.sent_status) for each in undelivered.outputs] == [("files", 0), ("inline", 0)] * 2
    assert (await files.read(undelivered.outputs[0].value)).startswith(b"\xff\xd8\xff")


async def test_they_are_sent_to_a_fresh_address_and_cost_nothing_more(
    undelivered: Task, operations: Operations, receiver: Receiver, files: FilesSink, directory: TenantDirectory
) -> None:
    """Both pictures arrive as they were kept, in order, each time they are asked for; the price was taken once."""
    receiver.says("/", status(201, 'ETag: "e"'))

    tasks = [await redeliver(operations, task_id, receiver.url()) for task_id in (undelivered.id, KEY)]

    kept = [await files.read(each.value) for each in undelivered.outputs if each.sink == "files"]
    assert [call.body for call in receiver.arrived] == kept * 2
    assert [(each.sent_status, each.sent_etag) for each in tasks[1].outputs] == [(201, '"e"')] * 4
    assert tasks[0].outputs[0].sent_at_s > 0
    alice = await directory.find("alice")
    assert alice is not None
    assert (alice.spent, alice.held) == (PRICE, 0)


async def test_an_address_that_takes_nothing_again_changes_nothing(
    undelivered: Task, operations: Operations, receiver: Receiver, directory: TenantDirectory
) -> None:
    """The caller hears why, without the address; nothing more is charged and the pictures stay."""
    receiver.says("/?secret", status(403))

    with pytest.raises(UploadAddressRefused) as refusal:
        await redeliver(operations, undelivered.id, receiver.url("/?secret"))

    assert refusal.value.message == "the upload address answered 403"
    alice = await directory.find("alice")
    assert alice is not None
    assert alice.spent == PRICE
    assert (await redeliver(operations, undelivered.id, receiver.url("/"))).outputs[0].sent_status == 200


@pytest.mark.parametrize("task_id", ["0" * 32, "runware:other", "a\0b", "é", "x" * 4000, ""])
async def test_what_is_not_there_is_not_sent(operations: Operations, receiver: Receiver, task_id: str) -> None:
    """No text that a caller may send leads to a task that is not theirs, or to a fault of ours."""
    with pytest.raises(NotFound):
        await redeliver(operations, task_id, receiver.url())

    assert receiver.arrived == []


async def test_nobody_else_can_send_them(undelivered: Task, operations: Operations, receiver: Receiver) -> None:
    """Another tenant's task is not there, by its id and by its key."""
    for task_id in (undelivered.id, KEY):
        with pytest.raises(NotFound):
            await redeliver(operations, task_id, receiver.url(), replace(ALICE, tenant_id="bob"))

    assert receiver.arrived == []


async def test_pictures_whose_time_is_over_are_not_there(
    undelivered: Task, operations: Operations, receiver: Receiver, files: FilesSink
) -> None:
    """What was deleted meanwhile is a clear 404, and so is nothing but that."""
    for output in undelivered.outputs:
        await files.remove(output.value)

    with pytest.raises(NotFound, match="no longer there"):
        await redeliver(operations, undelivered.id, receiver.url())


async def test_a_task_without_pictures_has_nothing_to_send(
    operations: Operations, receiver: Receiver, submit: Callable[..., Awaitable[Task]]
) -> None:
    """A task that waits is told so."""
    task = await submit()

    with pytest.raises(BadCall, match="queued and has no pictures"):
        await redeliver(operations, task.id, receiver.url())


async def test_an_address_that_has_ended_is_not_tried(undelivered: Task, operations: Operations) -> None:
    """What could not be sent there is not read either."""
    past = "https://pictures.example/a.jpg?Expires=1&Signature=00"

    with pytest.raises(UploadAddressRefused, match="expired"):
        await redeliver(operations, undelivered.id, past)
