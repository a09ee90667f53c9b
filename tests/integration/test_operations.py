"""Submitting, reading and cancelling on a real store; the replica is played by hand."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from deployments.database.signals import StoreSignal
from deployments.delivery.inline import InlineSink
from deployments.delivery.sink import Sink
from deployments.errors import BadCall, FaultKind, NotFound, Overloaded, Unavailable
from deployments.operations.caller import Caller
from deployments.operations.doors import Doors
from deployments.operations.operation import Cancel, CheckHealth, Keep, List, Operation, Read, ReadStatistics, Submit
from deployments.operations.operations import Operations
from deployments.operations.outcome import Healthy, Listing, Statistics, TaskOutcome
from deployments.references import References
from deployments.tasks.accept import OnceKey
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Fault, Success, Task, TaskState
from models.cost import cost_table
from models.request import GenerationRequest, Reference, Role

MakeRequest = Callable[..., GenerationRequest]
MakeOperations = Callable[..., Operations]
CarryOut = Callable[[], Awaitable[Task]]
BASE_URL = "http://host:8000"
ALICE = Caller(tenant_id="alice", dialect="wavespeed", base_url=BASE_URL)
#: Longer than any test may take: whoever waits so long was not woken.
LONG_S = 3600.0


class StumblingStore(TaskStore):
    """A store that cannot be asked what has ended the first time."""

    has_stumbled: asyncio.Event

    async def alive(self, task_ids: Sequence[str]) -> frozenset[str]:
        """Fail once, then tell."""
        if not self.has_stumbled.is_set():
            self.has_stumbled.set()
            raise Unavailable
        return await super().alive(task_ids)


class Bringing(References):
    """Brings a picture from nowhere, and knows how many it was bringing at once."""

    def __init__(self) -> None:
        self._now = 0
        self.most_at_once = 0

    async def fetch(self, source: str, *, tenant_id: str) -> bytes:  # noqa: ARG002 -- the parent's arguments
        """Take a few turns of the loop, then bring it."""
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        for _ in range(5):
            await asyncio.sleep(0)
        self._now -= 1
        return b"\x89PNG\r\n\x1a\n and more"


class NoBackstop:
    """The store's signal without the timeout that would hide a wake-up that never came."""

    def __init__(self, signal: StoreSignal) -> None:
        self._signal = signal
        self.waiting = asyncio.Event()

    def mark(self) -> int:
        """Name the present state of the store."""
        return self._signal.mark()

    async def wait(self, mark: int, *, timeout_s: float) -> None:  # noqa: ARG002 -- the protocol's argument
        """Return once something was written."""
        self.waiting.set()
        await self._signal.wait(mark, timeout_s=LONG_S)

    async def close(self) -> None:
        """Leave the real signal to whoever opened it."""


@pytest.fixture
def patient(signal: StoreSignal) -> NoBackstop:
    """Return a signal that only a write ends the wait of."""
    return NoBackstop(signal)


@pytest.fixture
def make_operations(store: TaskStore, patient: NoBackstop, make_doors: Callable[..., Doors]) -> MakeOperations:
    """Return a maker of operations; give it how long callers are kept waiting, or another store."""

    def make(*, store: TaskStore = store, wait_s: float = LONG_S) -> Operations:
        return Operations(make_doors(store=store, signal=patient), wait_s=wait_s)

    return make


async def perform(operations: Operations, operation: Operation, *, tenant_id: str = "alice") -> TaskOutcome:
    """Perform an operation for a tenant, Alice if nothing else is said, and wait for its end if it says so."""
    caller = Caller(tenant_id=tenant_id, dialect="wavespeed", base_url=BASE_URL)
    outcome = await operations.settle(await operations.perform(operation, caller), caller)
    assert isinstance(outcome, TaskOutcome)
    return outcome


def submit(request: GenerationRequest, **fields: Any) -> Submit:
    """Make a submission in the WaveSpeed dialect."""
    return Submit(request=request, dialect="wavespeed", **fields)


async def test_a_submission_is_durable_when_it_returns(
    make_operations: MakeOperations, make_request: MakeRequest, open_store: Callable[[], Awaitable[TaskStore]]
) -> None:
    """The moment a submission is answered, another process finds the same task, queued, with its whole request."""
    request = make_request(prompt="a red mug", references=(Reference(role=Role.SUBJECT, source="http://a/b.png"),))
    elsewhere = await open_store()

    outcome = await perform(make_operations(), submit(request, notes={"colour": "red"}))

    assert await elsewhere.read(outcome.task.id, tenant_id="alice") == outcome.task
    [claim] = await elsewhere.claim(models=["uno"], limit=9, replica_id="r2", lease_s=60)
    assert claim.request == request


async def test_a_submission_is_answered_before_its_end(
    make_operations: MakeOperations, make_request: MakeRequest
) -> None:
    """Without a wish to wait, the answer is a queued task without pictures, and nobody gave up."""
    outcome = await perform(make_operations(), submit(make_request(), notes={"a": "b"}))

    task = outcome.task
    assert (task.tenant_id, task.model, task.dialect, task.sinks) == ("alice", "uno", "wavespeed", ("files",))
    assert (task.state, dict(task.notes)) == (TaskState.QUEUED, {"a": "b"})
    assert (outcome.pictures, outcome.gave_up_waiting) == ((), False)


async def test_equal_submissions_are_two_tasks(make_operations: MakeOperations, make_request: MakeRequest) -> None:
    """The same request sent twice becomes two tasks with ids that nobody could guess."""
    operations = make_operations()

    ids = {(await perform(operations, submit(make_request()))).task.id for _ in range(2)}

    assert len(ids) == 2
    assert all(len(task_id) == 32 and set(task_id) <= set("0123456789abcdef") for task_id in ids)


class Signing(InlineSink):
    """A bucket that notes which threads sign its links."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def link(self, value: str, *, base_url: str) -> str:
        """Sign a link."""
        self.threads.add(threading.get_ident())
        return super().link(value, base_url=base_url)


@pytest.mark.parametrize("kind", ["bucket", "files"])
async def test_links_are_signed_beside_the_loop(
    make_operations: MakeOperations,
    make_request: MakeRequest,
    carry_out: CarryOut,
    sinks: dict[str, Sink],
    kind: str,
) -> None:
    """Signing many links holds up nobody else, and each task has its own; what need not be signed takes no thread."""
    sink = sinks[kind] = Signing()
    operations = make_operations()
    for _ in range(2):
        await perform(operations, submit(make_request(), sinks=(kind,)))
        await carry_out()
    sink.threads.clear()

    listing = await operations.perform(List(page=1, page_size=9), ALICE)

    assert isinstance(listing, Listing)
    assert [each.pictures for each in listing.tasks] == [(each.task.outputs[0].value,) for each in listing.tasks]
    assert len(listing.tasks) == 2
    assert (threading.get_ident() in sink.threads) == (kind != "bucket")


async def test_a_waiting_caller_is_woken_by_the_end(
    make_operations: MakeOperations, make_request: MakeRequest, carry_out: CarryOut, patient: NoBackstop
) -> None:
    """A caller that waits is answered with the pictures as soon as the task ends, by the write itself."""
    waiting = asyncio.create_task(perform(make_operations(), submit(make_request(), wait=True)))
    await asyncio.wait_for(patient.waiting.wait(), 20)

    ended = await carry_out()
    outcome = await asyncio.wait_for(waiting, 20)

    assert (outcome.task.id, outcome.task.state) == (ended.id, TaskState.SUCCEEDED)
    assert outcome.pictures[0].startswith(f"{BASE_URL}/files/{ended.id}-1-0-")
    assert not outcome.gave_up_waiting


async def test_a_waiting_caller_learns_of_failure(
    make_operations: MakeOperations,
    make_request: MakeRequest,
    store: TaskStore,
    claim_next: Callable[[], Awaitable[Claim]],
) -> None:
    """A task that fails while its caller waits is answered with its fault."""
    waiting = asyncio.create_task(perform(make_operations(), submit(make_request(), wait=True)))
    fault = Fault(kind=FaultKind.ENGINE_FAILED, message="it broke")

    task = (await claim_next()).task
    await store.fail(task.id, fence=task.fence, fault=fault)
    outcome = await asyncio.wait_for(waiting, 20)

    assert (outcome.task.state, outcome.task.fault) == (TaskState.FAILED, fault)
    assert (outcome.pictures, outcome.gave_up_waiting) == ((), False)


async def test_patience_ends_and_the_task_goes_on(
    make_operations: MakeOperations, make_request: MakeRequest, carry_out: CarryOut
) -> None:
    """After ``wait_s`` the caller gets the task as it is, is told so, and can read its end later."""
    operations = make_operations(wait_s=0.02)

    outcome = await asyncio.wait_for(perform(operations, submit(make_request(), wait=True)), 20)

    assert (outcome.task.state, outcome.gave_up_waiting) == (TaskState.QUEUED, True)
    await carry_out()
    later = await perform(operations, Read(task_id=outcome.task.id))
    assert (later.task.state, later.gave_up_waiting) == (TaskState.SUCCEEDED, False)


async def test_what_nobody_could_read_is_cancelled_when_it_is_given_up(
    make_operations: MakeOperations, make_request: MakeRequest, store: TaskStore
) -> None:
    """After ``wait_s`` a task whose caller can never ask again is cancelled, and the caller told that time was up."""
    wish = submit(make_request(), wait=True, cancel_when_given_up=True)

    outcome = await asyncio.wait_for(perform(make_operations(wait_s=0.02), wish), 20)

    assert (outcome.task.state, outcome.gave_up_waiting) == (TaskState.CANCELLED, True)
    assert await store.read(outcome.task.id, tenant_id="alice") == outcome.task


async def test_what_a_key_leads_to_is_not_cancelled_when_it_is_given_up(
    make_operations: MakeOperations, make_request: MakeRequest
) -> None:
    """A caller with a key can send the call again and be answered with the end, so the task goes on."""
    key = OnceKey(key="one", fingerprint="same")
    wish = submit(make_request(), wait=True, cancel_when_given_up=True, once=key)

    outcome = await asyncio.wait_for(perform(make_operations(wait_s=0.02), wish), 20)

    assert (outcome.task.state, outcome.gave_up_waiting) == (TaskState.QUEUED, True)


async def test_a_waiting_caller_outlasts_a_database_that_is_away(
    make_operations: MakeOperations, make_request: MakeRequest, database_url: str, carry_out: CarryOut
) -> None:
    """A task that is accepted is told to its caller, though the database could not be read while the caller waited."""
    stumbling = await StumblingStore.open(database_url)
    stumbling.has_stumbled = asyncio.Event()
    waiting = asyncio.create_task(perform(make_operations(store=stumbling), submit(make_request(), wait=True)))
    await asyncio.wait_for(stumbling.has_stumbled.wait(), 20)

    ended = await carry_out()
    outcome = await asyncio.wait_for(waiting, 20)

    await stumbling.close()
    assert (outcome.task.id, outcome.task.state) == (ended.id, TaskState.SUCCEEDED)


async def test_a_caller_who_hangs_up_leaves_the_task(
    make_operations: MakeOperations,
    make_request: MakeRequest,
    store: TaskStore,
    carry_out: CarryOut,
    patient: NoBackstop,
) -> None:
    """A waiting caller whose connection breaks has still submitted a task, and it is carried out."""
    waiting = asyncio.create_task(perform(make_operations(), submit(make_request(), wait=True)))
    await asyncio.wait_for(patient.waiting.wait(), 20)

    waiting.cancel()
    await asyncio.wait({waiting})

    task = await carry_out()
    found = await store.read(task.id, tenant_id="alice")
    assert found is not None
    assert found.state is TaskState.SUCCEEDED


async def test_inline_pictures_are_in_the_answer(
    make_operations: MakeOperations, make_request: MakeRequest, carry_out: CarryOut
) -> None:
    """A task whose pictures are kept inline is read with the picture itself instead of a link."""
    operations = make_operations()
    submitted = await perform(operations, submit(make_request(), sinks=("inline",)))
    await carry_out()

    outcome = await perform(operations, Read(task_id=submitted.task.id))

    assert outcome.pictures == (base64.b64encode(b"the bytes of a picture").decode(),)


async def test_inline_pictures_are_not_in_lists(
    make_operations: MakeOperations, make_request: MakeRequest, carry_out: CarryOut
) -> None:
    """A list shows links, and nothing of pictures that are kept inline; everything else of their tasks is there."""
    operations = make_operations()
    for sinks in (("inline",), ("files",), ("files", "inline")):
        await perform(operations, submit(make_request(), sinks=sinks))
        await carry_out()

    listing = await operations.perform(List(), ALICE)

    assert isinstance(listing, Listing)
    both, linked, inline = listing.tasks
    assert (inline.task.state, inline.pictures, inline.task.outputs) == (TaskState.SUCCEEDED, (), ())
    for each in (both, linked):
        [link] = each.pictures
        assert link.startswith(f"{BASE_URL}/files/{each.task.id}-")
        assert len(each.task.outputs) == 1


async def test_many_pictures_are_kept_a_few_at_a_time(make_doors: Callable[..., Doors]) -> None:
    """Of a hundred pictures of one call two are in memory at once, and all of them are kept in the end."""
    doors = make_doors()
    bringing = Bringing()
    operations = Operations(replace(doors, references=bringing), wait_s=LONG_S)

    kept = await asyncio.gather(*(operations.perform(Keep(source="http://a/b.png"), ALICE) for _ in range(100)))

    assert (len(kept), bringing.most_at_once) == (100, 2)


async def test_statistics_are_a_moment_old(make_operations: MakeOperations, make_request: MakeRequest) -> None:
    """Who asks again at once is told the same, and the table is not read for it."""
    operations = make_operations()
    before = await operations.perform(ReadStatistics(), ALICE)
    await perform(operations, submit(make_request()))

    after = await operations.perform(ReadStatistics(), ALICE)

    assert isinstance(before, Statistics)
    assert after == before


async def test_another_tenants_task_is_not_there(make_operations: MakeOperations, make_request: MakeRequest) -> None:
    """A tenant who knows another's task id is told what a wrong id is told."""
    operations = make_operations()
    task_id = (await perform(operations, submit(make_request()))).task.id

    with pytest.raises(NotFound) as foreign:
        await perform(operations, Read(task_id=task_id), tenant_id="bob")
    with pytest.raises(NotFound) as unknown:
        await perform(operations, Read(task_id="0" * 32), tenant_id="bob")

    assert foreign.value.message == unknown.value.message


@pytest.mark.parametrize(
    "task_id",
    [
        "",
        " ",
        "x",
        "0" * 31,
        "0" * 33,
        "A" * 32,
        "../../etc/passwd",
        "' OR 1=1 --",
        "\0",
        "\ud800",
        "٣" * 32,
        "a" * 9999,
    ],
    ids=ascii,
)
async def test_any_text_may_be_asked_for(make_operations: MakeOperations, task_id: str) -> None:
    """Whatever a caller sends as an id is not found, and nothing worse."""
    with pytest.raises(NotFound, match="task not found"):
        await perform(make_operations(), Read(task_id=task_id))


async def test_what_no_device_has_the_memory_for_is_refused(
    make_doors: Callable[..., Doors], make_request: MakeRequest, store: TaskStore
) -> None:
    """A request that cannot be drawn at all is refused with what it takes and what there is; a smaller one is not."""
    operations = Operations(make_doors(request_bytes=4_000_000_000), wait_s=LONG_S)

    with pytest.raises(BadCall, match=r"takes about 12\.9 GB of a device's memory, and 4\.0 GB are there"):
        await perform(operations, submit(make_request(width=2048, height=2048)))
    assert await store.backlog() == {}
    await perform(operations, submit(make_request(width=1024, height=1024)))
    assert (await store.backlog())["uno"][TaskState.QUEUED] == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("width", 64), ("height", 4096), ("num_images", 21), ("num_inference_steps", 51), ("guidance_scale", 0.5)],
)
async def test_the_catalogs_limits_refuse(
    make_operations: MakeOperations, make_request: MakeRequest, store: TaskStore, field: str, value: float
) -> None:
    """A request beyond a limit of its model is refused by the field's name, and no task is made."""
    with pytest.raises(BadCall, match=f"{field} must be between"):
        await perform(make_operations(), submit(make_request(**{field: value})))

    assert await store.backlog() == {}


async def test_the_same_call_again_is_answered_with_its_task(
    make_operations: MakeOperations, make_request: MakeRequest, carry_out: CarryOut
) -> None:
    """A submission under a key that was used before is answered with the first one's task, with its pictures by now."""
    operations, once = make_operations(), OnceKey(key="order 7", fingerprint="f")
    first = await perform(operations, submit(make_request(), once=once))
    await carry_out()

    again = await perform(operations, submit(make_request(seed=8), once=once))

    assert (again.task.id, again.task.state) == (first.task.id, TaskState.SUCCEEDED)
    assert len(again.pictures) == 1


async def test_a_copy_that_waits_is_answered_with_the_end(
    make_operations: MakeOperations, make_request: MakeRequest, carry_out: CarryOut
) -> None:
    """Callers who sent the same call twice and wait both get the one task's end."""
    operations, once = make_operations(), OnceKey(key="order 7", fingerprint="f")
    callers = [asyncio.create_task(perform(operations, submit(make_request(), wait=True, once=once))) for _ in range(3)]

    ended = await carry_out()
    outcomes = await asyncio.wait_for(asyncio.gather(*callers), 20)

    assert {outcome.task.id for outcome in outcomes} == {ended.id}
    assert all(len(outcome.pictures) == 1 and not outcome.gave_up_waiting for outcome in outcomes)


async def test_a_queued_task_is_cancelled(
    make_operations: MakeOperations, make_request: MakeRequest, store: TaskStore
) -> None:
    """A cancelled task is answered as such, costs nothing and is never handed to a replica."""
    operations = make_operations()
    submitted = await perform(operations, submit(make_request()))

    outcome = await perform(operations, Cancel(task_id=submitted.task.id))

    assert (outcome.task.id, outcome.task.state, outcome.pictures) == (submitted.task.id, TaskState.CANCELLED, ())
    assert await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60) == []


async def test_a_running_task_is_cancelled_and_delivers_no_more(
    make_operations: MakeOperations,
    make_request: MakeRequest,
    store: TaskStore,
    claim_next: Callable[[], Awaitable[Claim]],
) -> None:
    """Once a cancel is answered, the replica's pictures come too late, whoever waits is told, and nothing is shown."""
    operations = make_operations()
    waiting = asyncio.create_task(perform(operations, submit(make_request(), wait=True)))
    task = (await claim_next()).task

    outcome = await perform(operations, Cancel(task_id=task.id))

    assert outcome.task.state is TaskState.CANCELLED
    assert not await store.succeed(task.id, fence=task.fence, success=Success(outputs=(), inference_ms=1))
    told = await asyncio.wait_for(waiting, 20)
    assert (told.task.state, told.pictures, told.gave_up_waiting) == (TaskState.CANCELLED, (), False)


async def test_to_cancel_what_has_ended_changes_nothing(
    make_operations: MakeOperations, make_request: MakeRequest, carry_out: CarryOut
) -> None:
    """A cancel that comes too late is answered with the task as it ended, twice as well as once."""
    operations = make_operations()
    await perform(operations, submit(make_request()))
    ended = await carry_out()
    before = await perform(operations, Read(task_id=ended.id))

    outcomes = [await perform(operations, Cancel(task_id=ended.id)) for _ in range(2)]

    assert outcomes == [before, before]
    assert before.task.state is TaskState.SUCCEEDED


@pytest.mark.parametrize("odd_id", [None, "0" * 32, "", "\0", "x"], ids=ascii)
async def test_nobody_cancels_anothers_task(
    make_operations: MakeOperations, make_request: MakeRequest, store: TaskStore, odd_id: str | None
) -> None:
    """To cancel another tenant's task, or none at all, is answered alike, and the task goes on."""
    operations = make_operations()
    task = (await perform(operations, submit(make_request()))).task

    with pytest.raises(NotFound, match=r"^task not found$"):
        await perform(operations, Cancel(task_id=task.id if odd_id is None else odd_id), tenant_id="bob")

    assert await store.read(task.id, tenant_id="alice") == task


async def test_a_submission_has_its_price_and_work(make_operations: MakeOperations, make_request: MakeRequest) -> None:
    """What a request costs its tenant and a device is decided when it is accepted."""
    request = make_request(width=1024, height=1024, num_inference_steps=28, num_images=2)

    task = (await perform(make_operations(), submit(request))).task

    assert (task.price, task.work_units, task.steps_total) == (100_000, 56.0, 56)


async def test_work_is_counted_by_the_operators_table(
    make_doors: Callable[..., Doors], make_request: MakeRequest
) -> None:
    """Where a device is known to take nothing but a set time for a step, the size of a picture counts for nothing."""
    costs = replace(cost_table(), row_ms=0.0, kilotoken_ms=0.0, megapair_ms=0.0)
    operations = Operations(make_doors(costs=costs), wait_s=LONG_S)

    tasks = [(await perform(operations, submit(make_request(width=side)))).task for side in (512, 1024)]

    assert [task.work_units for task in tasks] == [task.steps_total for task in tasks]


async def test_a_full_queue_refuses_everybody(
    make_operations: MakeOperations, make_request: MakeRequest, store: TaskStore
) -> None:
    """When as much waits as the server can keep, calls are refused unwritten, and told when to come back."""
    for number in range(100):
        await perform(make_operations(), submit(make_request()), tenant_id=("alice", "bob")[number % 2])

    with pytest.raises(Overloaded) as refusal:
        await perform(make_operations(), submit(make_request()))

    assert refusal.value.retry_after_s == 10
    assert (await store.backlog())["uno"][TaskState.QUEUED] == 100


@pytest.mark.parametrize("of_replicas", [False, True])
async def test_serve_is_asked_for_replicas_by_who_wants_to_know(
    make_doors: Callable[..., Doors], *, of_replicas: bool
) -> None:
    """Ray Serve's controller may be away for long; whoever asks only whether calls are taken does not wait for it."""
    asked = []

    async def draws() -> bool:
        asked.append("serve")
        return False

    operations = Operations(replace(make_doors(), draws=draws), wait_s=LONG_S)

    assert await operations.perform(CheckHealth(of_replicas=of_replicas), ALICE) == Healthy(draws=not of_replicas)
    assert asked == ["serve"] * of_replicas
