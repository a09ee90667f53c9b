"""Addresses that pictures are sent to: checked when they are given, sealed while they wait, wiped at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from deployments.clock import utc_now
from deployments.errors import EngineFailed, UploadAddressRefused
from deployments.operations.caller import Caller
from deployments.operations.doors import Doors
from deployments.operations.operation import Submit
from deployments.operations.operations import Operations
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Fault, Success
from deployments.tenants.seal import Seal
from models.request import GenerationRequest

URL = "https://pictures.example/a.jpg?X-Amz-Signature=permission"
ALICE = Caller(tenant_id="alice", dialect="runware", base_url="https://here.example")

MakeRequest = Callable[..., GenerationRequest]
End = Callable[[TaskStore, str, int], Awaitable[bool]]


@pytest.fixture
def operations(make_doors: Callable[[], Doors]) -> Operations:
    """Return operations on an empty database."""
    return Operations(make_doors(), wait_s=20)


def wish(request: GenerationRequest, url: str = URL) -> Submit:
    """Return a call that wants its picture sent somewhere."""
    return Submit(request=request, dialect="runware", upload_url=url)


async def succeed(store: TaskStore, task_id: str, fence: int) -> bool:
    """End a task well."""
    return await store.succeed(task_id, fence=fence, success=Success(outputs=(), inference_ms=1))


async def fail(store: TaskStore, task_id: str, fence: int) -> bool:
    """End a task badly."""
    return await store.fail(task_id, fence=fence, fault=Fault(kind=EngineFailed.kind, message="it broke"))


async def cancel(store: TaskStore, task_id: str, _fence: int) -> bool:
    """End a task that nobody wants any more."""
    return await store.cancel(task_id, tenant_id="alice")


async def test_an_address_is_sealed_while_it_waits(
    operations: Operations, make_request: MakeRequest, claim_next: Callable[[], Awaitable[Claim]]
) -> None:
    """What the database and the replica hold says nothing; who has the server's secret can send a picture there."""
    await operations.submit(wish(make_request()), ALICE)

    claim = await claim_next()

    assert claim.task.upload_url is not None
    assert "pictures" not in claim.task.upload_url
    assert Seal("s" * 32).open(claim.task.upload_url) == URL


@pytest.mark.parametrize("end", [succeed, fail, cancel])
async def test_an_address_is_wiped_at_the_end(
    operations: Operations,
    make_request: MakeRequest,
    store: TaskStore,
    claim_next: Callable[[], Awaitable[Claim]],
    end: End,
) -> None:
    """However a task ends, the permission that it held is gone from the database."""
    await operations.submit(wish(make_request()), ALICE)
    task = (await claim_next()).task

    assert await end(store, task.id, task.fence)

    ended = await store.read(task.id, tenant_id="alice")
    assert ended is not None
    assert ended.upload_url is None


async def test_an_address_that_has_ended_is_refused(
    operations: Operations, make_request: MakeRequest, store: TaskStore
) -> None:
    """Nothing is accepted that could not be delivered."""
    past = f"https://pictures.example/a.jpg?Expires={int(utc_now().timestamp()) - 5}&Signature=00"

    with pytest.raises(UploadAddressRefused, match="expired"):
        await operations.submit(wish(make_request(), past), ALICE)

    assert not await store.has_queued(1)
