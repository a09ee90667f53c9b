"""What every store keeps to: leases, fences, rescue and the ends of a task.

A lease of -1 s has run out when the claim returns, so nothing here waits.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from deployments.errors import FaultKind
from deployments.tasks.store import Forgotten, Rescued, TaskStore
from deployments.tasks.task import Beat, Claim, Fault, Output, Success, Task, TaskState, Webhook
from deployments.tasks.waterfall import Part, last_start, waterfall_of
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
OpenStore = Callable[[], Awaitable[TaskStore]]
ClaimOne = Callable[..., Awaitable[Task]]
End = Callable[[TaskStore, Task], Coroutine[Any, Any, bool]]

PICTURE = Output(sink="files", value="a.jpeg", content_type="image/jpeg", size_bytes=9, sha256="ab" * 32, seed=7)
SUCCESS = Success(outputs=(PICTURE,), inference_ms=1234)
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
# What PostgreSQL cannot hold, as text or in an index; parsing lets none of them in.
POISON = (
    Webhook(url="http://a.example/\0", base_url="http://us"),
    Webhook(url=f"http://{hashlib.shake_256(b'host').hexdigest(2500)}/", base_url="http://us"),
    Webhook(url="http://a.example/", base_url="http://\0"),
)
FAULT = Fault(kind=FaultKind.ENGINE_FAILED, message="The model could not make this picture.")


async def succeed(store: TaskStore, task: Task) -> bool:
    """End a task well."""
    return await store.succeed(task.id, fence=task.fence, success=SUCCESS)


async def fail(store: TaskStore, task: Task) -> bool:
    """End a task badly."""
    return await store.fail(task.id, fence=task.fence, fault=FAULT)


async def release(store: TaskStore, task: Task) -> bool:
    """Hand a task back."""
    return await store.release(task.id, fence=task.fence)


async def cancel(store: TaskStore, task: Task) -> bool:
    """End a task as its tenant."""
    return await store.cancel(task.id, tenant_id=task.tenant_id)


async def beat(store: TaskStore, task: Task, *, steps_done: int = 1, lease_s: float = 60) -> bool:
    """Give one sign of life."""
    sign = Beat(task_id=task.id, fence=task.fence, steps_done=steps_done)
    return task.id in await store.beat([sign], lease_s=lease_s)


async def read(store: TaskStore, task: Task) -> Task:
    """Read a task that is there."""
    found = await store.read(task.id, tenant_id=task.tenant_id)
    assert found is not None
    return found


async def claim_all(store: TaskStore, *, lease_s: float = 60) -> list[Claim]:
    """Claim whatever waits."""
    return await store.claim(models=["uno"], limit=100, replica_id="r1", lease_s=lease_s)


@pytest.fixture
def claim_one(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> ClaimOne:
    """Return a maker of tasks that were accepted and claimed."""

    async def claim(*, lease_s: float = 60) -> Task:
        await store.accept(make_task(), make_request())
        [claimed] = await claim_all(store, lease_s=lease_s)
        return claimed.task

    return claim


async def test_success_is_stored_whole(store: TaskStore, claim_one: ClaimOne) -> None:
    """A succeeded task shows its pictures, its time and when it ended."""
    task = await claim_one()

    assert await succeed(store, task)

    ended = await read(store, task)
    assert (ended.state, ended.outputs, ended.inference_ms) == (TaskState.SUCCEEDED, (PICTURE,), 1234)
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert ended.created_at <= ended.started_at <= ended.finished_at


@pytest.mark.parametrize("message", ["plain", "\0", "half a pair: \ud800", "🐈"])
async def test_failure_is_stored_whatever_it_says(store: TaskStore, claim_one: ClaimOne, message: str) -> None:
    """A failed task shows its fault, even one that quotes what no database can hold."""
    task = await claim_one()

    assert await store.fail(task.id, fence=task.fence, fault=Fault(kind=FaultKind.REFERENCE_UNUSABLE, message=message))

    ended = await read(store, task)
    assert ended.state is TaskState.FAILED
    assert ended.fault is not None
    assert ended.fault.kind is FaultKind.REFERENCE_UNUSABLE
    assert ended.fault.message.isprintable()


@pytest.mark.parametrize("end", [succeed, fail, release, cancel, beat])
async def test_an_ended_task_never_changes(store: TaskStore, claim_one: ClaimOne, end: End) -> None:
    """Whatever is asked of a task after its end is refused and leaves no trace."""
    task = await claim_one()
    await succeed(store, task)
    ended = await read(store, task)

    assert not await end(store, task)

    assert await read(store, task) == ended


@pytest.mark.parametrize("end", [succeed, fail, release, beat])
async def test_a_late_write_is_refused(store: TaskStore, claim_one: ClaimOne, end: End) -> None:
    """A replica whose lease ran out, and whose task another has claimed since, can no longer write to it."""
    stale = await claim_one(lease_s=-1)
    await store.rescue()
    [newer] = await claim_all(store)

    assert not await end(store, stale)

    assert newer.task.fence > stale.fence
    assert await read(store, stale) == newer.task


@pytest.mark.parametrize("end", [succeed, fail, release, beat])
async def test_a_write_between_rescue_and_the_next_claim_is_refused(
    store: TaskStore, claim_one: ClaimOne, end: End
) -> None:
    """Nobody holds a task that waits again, not even the one who held it last."""
    stale = await claim_one(lease_s=-1)
    await store.rescue()

    assert not await end(store, stale)

    assert (await read(store, stale)).state is TaskState.QUEUED


@pytest.mark.parametrize("end", [succeed, fail, release])
async def test_nobody_else_can_end_a_task_by_guessing(store: TaskStore, claim_one: ClaimOne, end: End) -> None:
    """A fence from the future is no better than one from the past."""
    task = await claim_one()

    assert not await store.succeed(task.id, fence=task.fence + 1, success=SUCCESS)

    assert await end(store, task)


async def test_an_expired_lease_is_no_end_until_someone_takes_the_task(store: TaskStore, claim_one: ClaimOne) -> None:
    """A replica that is late, but not yet replaced, may still deliver: its work is done."""
    task = await claim_one(lease_s=-1)

    assert await succeed(store, task)

    assert await store.rescue() == Rescued(requeued=0, quarantined=0)


async def test_a_live_lease_is_not_rescued(store: TaskStore, claim_one: ClaimOne) -> None:
    """Rescue leaves alone what is still held."""
    task = await claim_one(lease_s=60)

    assert await store.rescue() == Rescued(requeued=0, quarantined=0)

    assert await read(store, task) == task


async def test_rescue_puts_a_task_back_in_its_old_place(
    store: TaskStore, claim_one: ClaimOne, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A task whose lease ran out is claimed again before those accepted after it, and starts from noise."""
    lost, later = await claim_one(lease_s=-1), make_task()
    await beat(store, lost, steps_done=3, lease_s=-1)
    await store.accept(later, make_request())

    assert await store.rescue() == Rescued(requeued=1, quarantined=0)

    claims = await claim_all(store)
    assert [claim.task.id for claim in claims] == [lost.id, later.id]
    assert [(claim.task.attempt, claim.task.fence) for claim in claims] == [(2, 2), (1, 1)]
    assert claims[0].task.steps_done == 0


async def test_the_last_attempt_is_followed_by_quarantine(store: TaskStore, claim_one: ClaimOne) -> None:
    """After three lost leases a task fails for good, and says why."""
    task = await claim_one(lease_s=-1)
    for _ in range(2):
        assert await store.rescue(max_attempts=3) == Rescued(requeued=1, quarantined=0)
        await claim_all(store, lease_s=-1)

    assert await store.rescue(max_attempts=3) == Rescued(requeued=0, quarantined=1)

    ended = await read(store, task)
    assert (ended.state, ended.attempt) == (TaskState.FAILED, 3)
    assert ended.finished_at is not None
    assert ended.fault is not None
    assert ended.fault.kind is FaultKind.QUARANTINED
    assert "not tried again" in ended.fault.message


async def test_a_task_handed_back_is_not_blamed(store: TaskStore, claim_one: ClaimOne) -> None:
    """A released task waits at once, with as many attempts left as before and a fence that still grows."""
    task = await claim_one()

    assert await release(store, task)

    assert (await read(store, task)).state is TaskState.QUEUED
    [again] = await claim_all(store)
    assert (again.task.attempt, again.task.fence) == (1, 2)


@pytest.mark.parametrize("webhook", POISON, ids=["NUL", "host", "unwritable"])
async def test_a_poisonous_webhook_keeps_nobody_from_being_rescued(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest, webhook: Webhook
) -> None:
    """Tasks that nobody can be told of are given up and expire, and in the same round others wait again."""
    poisonous = await store.accept(make_task(webhook=webhook), make_request())
    for _ in range(2):
        await claim_all(store, lease_s=-1)
        await store.rescue()
    lost = await store.accept(make_task(tenant_id="bob"), make_request())
    await claim_all(store, lease_s=-1)
    late = await store.accept(make_task(webhook=webhook, start_before=LONG_AGO), make_request())

    rescued = await store.rescue()

    assert rescued == Rescued(requeued=1, quarantined=1)
    states = [(await read(store, task)).state for task in (poisonous, lost, late)]
    assert states == [TaskState.FAILED, TaskState.QUEUED, TaskState.CANCELLED]


@pytest.mark.parametrize("webhook", POISON, ids=["NUL", "host", "unwritable"])
@pytest.mark.parametrize("end", [succeed, fail, cancel])
async def test_a_poisonous_webhook_keeps_no_task_from_ending(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest, end: End, webhook: Webhook
) -> None:
    """Whomever it asks to be told, a task ends, and stays ended."""
    await store.accept(make_task(webhook=webhook), make_request())
    [claim] = await claim_all(store)

    assert await end(store, claim.task)

    assert (await read(store, claim.task)).finished_at is not None


async def test_beats_show_progress(store: TaskStore, claim_one: ClaimOne) -> None:
    """The steps of a beat are seen by readers, and never go back."""
    task = await claim_one()

    assert await beat(store, task, steps_done=3)
    assert await beat(store, task, steps_done=2)

    assert (await read(store, task)).steps_done == 3


@pytest.mark.parametrize(("before", "now"), [(0, 0), (0, 1), (3, 4), (3, 3)])
async def test_a_beat_renews_a_lease(store: TaskStore, claim_one: ClaimOne, *, before: int, now: int) -> None:
    """A task that is beaten for keeps its lease, also while it waits between two of its steps."""
    task = await claim_one(lease_s=-1)
    await beat(store, task, steps_done=before, lease_s=-1)

    is_mine = await beat(store, task, steps_done=now, lease_s=60)

    assert is_mine
    assert await store.rescue() == Rescued(requeued=0, quarantined=0)


async def test_old_news_does_not_turn_back_progress(store: TaskStore, claim_one: ClaimOne) -> None:
    """Steps that were reported once stay taken."""
    task = await claim_one()
    await beat(store, task, steps_done=3, lease_s=60)

    await beat(store, task, steps_done=2, lease_s=60)

    assert (await read(store, task)).steps_done == 3


async def test_what_ended_long_ago_is_forgotten(store: TaskStore, claim_one: ClaimOne) -> None:
    """A task whose time is over and that has no pictures is gone; one that ended just now, or is under way, stays."""
    running, old, fresh = await claim_one(), await claim_one(), await claim_one()
    await store.cancel(old.id, tenant_id="alice")
    assert await store.forget(keep_s=-1) == Forgotten(tasks=1, requests=0)
    await succeed(store, fresh)

    forgotten = await store.forget(keep_s=3600)

    assert forgotten == Forgotten(tasks=0, requests=1)
    assert await store.read(old.id, tenant_id=old.tenant_id) is None
    assert (await read(store, fresh)).state is TaskState.SUCCEEDED
    assert (await read(store, running)).state is TaskState.RUNNING


async def test_only_requests_that_nobody_needs_are_forgotten(
    store: TaskStore, claim_one: ClaimOne, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """What failed may be asked for again and what waits must be made; of the others the wish is deleted."""
    for end in (succeed, fail, cancel, release):
        await end(store, await claim_one())
    await store.accept(make_task(), make_request())

    assert await store.forget(keep_s=3600) == Forgotten(tasks=0, requests=2)

    assert await store.forget(keep_s=3600) == Forgotten(tasks=0, requests=0)
    assert len(await claim_all(store)) == 2


async def test_a_round_of_forgetting_is_bounded(store: TaskStore, claim_one: ClaimOne) -> None:
    """A round deletes no more than it was told to; the next one goes on."""
    for _ in range(3):
        await fail(store, await claim_one())

    rounds = [await store.forget(keep_s=-1, limit=2) for _ in range(3)]

    assert [each.tasks for each in rounds] == [2, 1, 0]


async def test_a_round_of_beats_names_what_is_still_held(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Of many beats at once, exactly the tasks that were cancelled, lost or ended are missing from the answer."""
    for _ in range(5):
        await store.accept(make_task(), make_request())
    held, cancelled, ended, released, outdated = [claim.task for claim in await claim_all(store)]
    await cancel(store, cancelled)
    await succeed(store, ended)
    await release(store, released)
    beats = [Beat(task_id=task.id, fence=1, steps_done=1) for task in (outdated, released, ended, cancelled, held)]
    beats[0] = Beat(task_id=outdated.id, fence=0, steps_done=1)

    assert await store.beat(beats, lease_s=60) == {held.id}


async def test_no_beats_need_no_database(store: TaskStore) -> None:
    """An idle replica's beat is empty, and so is the answer."""
    assert await store.beat([], lease_s=60) == frozenset()


async def test_a_cancelled_task_is_never_claimed(
    store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A queued task that is cancelled is never handed to a replica."""
    task = make_task()
    await store.accept(task, make_request())

    assert await cancel(store, task)

    assert await claim_all(store) == []
    ended = await read(store, task)
    assert (ended.state, ended.started_at) == (TaskState.CANCELLED, None)
    assert ended.finished_at is not None


async def test_who_waits_again_until_the_end_ran_for_none_of_it(store: TaskStore, claim_one: ClaimOne) -> None:
    """All the time of a task that is cancelled while it waits again is queued; else what came after its start ran."""
    released, running = await claim_one(), await claim_one()
    await release(store, released)
    waiting = await read(store, released)
    for task in (released, running):
        await cancel(store, task)

    parts = [list(waterfall_of(await read(store, task))) for task in (released, running)]

    assert last_start(waiting) is None
    assert parts == [[Part.QUEUED], [Part.QUEUED, Part.RUNNING]]


async def test_a_cancelled_task_is_not_rescued(store: TaskStore, claim_one: ClaimOne) -> None:
    """A cancel holds even when the lease of the task had run out."""
    task = await claim_one(lease_s=-1)
    await cancel(store, task)

    assert await store.rescue() == Rescued(requeued=0, quarantined=0)

    assert (await read(store, task)).state is TaskState.CANCELLED


@pytest.mark.parametrize("end", [succeed, fail])
async def test_cancel_and_end_have_one_winner(
    store: TaskStore,
    open_store: OpenStore,
    make_task: MakeTask,
    make_request: MakeRequest,
    end: End,
) -> None:
    """When a tenant cancels while the replica finishes, exactly one of them is told yes, and the state is theirs."""
    other_store = await open_store()
    for _ in range(20):
        await store.accept(make_task(), make_request())
    tasks = [claim.task for claim in await claim_all(store)]

    answers = await asyncio.gather(
        *(asyncio.gather(cancel(other_store, task), end(store, task)) for task in tasks),
    )

    for task, (was_cancelled, was_ended) in zip(tasks, answers, strict=True):
        assert was_cancelled != was_ended
        assert ((await read(store, task)).state is TaskState.CANCELLED) == was_cancelled
