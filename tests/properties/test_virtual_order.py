"""The fair order of virtual fleets beside the store's own: they are asked the same and have to choose alike."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.tasks.claim import ANY_RANK, Restraint
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Success, Task
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from loadtest.virtual.fair import FairOrder
from loadtest.virtual.fair import Task as Virtual
from loadtest.virtual.work import Work
from models.request import GenerationRequest

WEIGHTS = {"alice": 1.0, "bob": 2.0, "carol": 0.5, "dave": 1.0, "eve": 4.0, "frank": 1.0}
MAX_RUNNING = 6


class Both:
    """A real store and an order in memory that are asked for the same."""

    def __init__(self, store: TaskStore, make: Callable[..., Task], request: GenerationRequest) -> None:
        self._store, self._make, self._request = store, make, request
        self._running: dict[str, int] = {}
        self._order = FairOrder(self._running, max_running=MAX_RUNNING)
        self._queued: dict[str, Virtual] = {}
        self._claimed: list[tuple[Task, Virtual]] = []
        self.choices = 0

    async def play(self, draw: random.Random) -> None:
        """Do one thing in both, and compare what came of it."""
        match draw.choice(["submit", "submit", "submit", "claim", "claim", "claim", "end", "release", "cancel"]):
            case "submit":
                await self._submit(draw.choice(list(WEIGHTS)), draw.choice([0.5, 1.0, 4.0]))
            case "claim":
                below_rank = draw.choice([ANY_RANK, ANY_RANK, 1, 2])
                await self._claim(below_rank, draw.choice([[], ["alice", "bob"], ["carol", "eve"]]))
            case "end" if self._claimed:
                task, virtual = self._claimed.pop(draw.randrange(len(self._claimed)))
                assert await self._store.succeed(task.id, fence=task.fence, success=Success(outputs=(), inference_ms=1))
                self._running[virtual.work.tenant] -= 1
            case "release" if self._claimed:
                task, virtual = self._claimed.pop(draw.randrange(len(self._claimed)))
                assert await self._store.release(task.id, fence=task.fence)
                self._running[virtual.work.tenant] -= 1
                self._order.put_back(virtual)
                self._queued[task.id] = virtual
            case "cancel" if self._queued:
                task_id = draw.choice(list(self._queued))
                virtual = self._queued.pop(task_id)
                assert await self._store.cancel(task_id, tenant_id=virtual.work.tenant)
                self._order.remove(virtual)
            case _:
                pass

    async def _submit(self, tenant_id: str, units: float) -> None:
        task = self._make(tenant_id=tenant_id, work_units=units)
        await self._store.accept(task, self._request)
        work = Work(number=0, at_s=0.0, tenant=tenant_id, model="uno", units=units, device_s=1.0, images=1)
        self._queued[task.id] = self._order.accept(work, weight=WEIGHTS[tenant_id])

    async def _claim(self, below_rank: int, not_of: list[str]) -> None:
        claims: list[Claim] = await self._store.claim(
            models=["uno"],
            limit=1,
            replica_id="r",
            lease_s=600,
            restraint=Restraint(below_rank=below_rank, not_of=not_of),
        )
        taken = self._order.take(below_rank=below_rank, not_of=not_of)
        found = taken and (next(name for name, each in self._queued.items() if each is taken.task), taken.rank)
        assert found == next(((claim.task.id, claim.rank) for claim in claims), None)
        if taken:
            assert taken.yields == claims[0].yields
            self._claimed.append((claims[0].task, self._queued.pop(claims[0].task.id)))
            self.choices += 1


@pytest.mark.parametrize("seed", [1, 3])
async def test_both_choose_alike(
    tmp_path: Path, make_task: Callable[..., Task], make_request: Callable[..., Any], seed: int
) -> None:
    """Whatever is asked of a SQLite store, the order in memory hands out the same task with the same rank."""
    draw = random.Random(seed)  # noqa: S311 -- a load, not a secret
    store = await TaskStore.open(f"sqlite:///{tmp_path / 'order.db'}")
    try:
        directory = TenantDirectory(store._database)
        for tenant_id, weight in WEIGHTS.items():
            await directory.create(Tenant(id=tenant_id, weight=weight, max_running=MAX_RUNNING))
        both = Both(store, make_task, make_request())

        for _ in range(240):
            await both.play(draw)

        assert both.choices > 30
    finally:
        await store.close()
