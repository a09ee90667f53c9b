"""How many accepts, claims and ends a real database carries in a second, each alone: what a fleet may ask of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

from deployments.database.database import open_database
from deployments.database.migrations.move import move
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Success
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from loadtest.targets import SMALL_REFERENCE, new_request, new_task

#: How many ask at once; beyond that nothing is gained on a machine of few cores.
CLIENTS = 16
TENANTS = [f"tenant-{number:03}" for number in range(100)]


async def store_rates(url: str, *, tasks: int) -> Mapping[str, float]:
    """Return accepts, claims and ends per second, each asked for by many at once.

    Args:
        url: an empty database, without tables or with; it has them and ``tasks`` ended tasks afterwards.
        tasks: how often each is done.
    """
    await move(url, post=True)
    database = await open_database(url)
    try:
        for tenant_id in TENANTS:
            await TenantDirectory(database).create(Tenant(id=tenant_id, max_queued=None))
        return await _rates(TaskStore(database), tasks)
    finally:
        await database.close()


async def _rates(store: TaskStore, tasks: int) -> Mapping[str, float]:
    request, claims, numbers = new_request(SMALL_REFERENCE), [], count()

    async def accept() -> None:
        await store.accept(new_task(tenant_id=TENANTS[next(numbers) % len(TENANTS)]), request)

    async def claim() -> None:
        claims.extend(await store.claim(models=["uno"], limit=1, replica_id="r", lease_s=3600))

    async def finish() -> None:
        taken: Claim = claims.pop()
        done = Success(outputs=(), inference_ms=1)
        await store.succeed(taken.task.id, fence=taken.task.fence, success=done)

    steps: dict[str, Callable[[], Awaitable[Any]]] = {"accept": accept, "claim": claim, "finish": finish}
    return {name: round(await _per_s(once, tasks), 1) for name, once in steps.items()}


async def _per_s(once: Callable[[], Awaitable[Any]], times: int) -> float:
    """Do something so many times with some clients; return how many were done in a second."""
    left = iter(range(times))

    async def work() -> None:
        for _ in left:
            await once()

    started = time.monotonic()
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(work())
    return times / (time.monotonic() - started)
