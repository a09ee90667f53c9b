"""What holds of order for all submissions, claims and ends of some tenants, however they come."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from deployments.database.schema import tasks as tasks_table
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Success, Task
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]

WEIGHTS = st.lists(st.sampled_from([0.5, 1.0, 1.0, 2.0, 4.0]), min_size=2, max_size=4)
UNITS = st.sampled_from([0.25, 1.0, 1.0, 3.0, 8.0])
#: Who submits how many tasks of what size, that one is claimed, or that one of those that run has ended.
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 3), st.integers(1, 8), UNITS),
        st.tuples(st.just("claim"), st.integers(1, 8)),
        st.tuples(st.just("end"), st.integers(0, 9)),
    ),
    min_size=25,
    max_size=60,
)


class Shares:
    """What every two tenants were served since both began to wait."""

    def __init__(self, weights: dict[str, float]) -> None:
        self._weights = weights
        self.waiting: dict[str, list[float]] = {tenant_id: [] for tenant_id in weights}
        self._largest: dict[str, float] = defaultdict(float)
        self._ahead: dict[tuple[str, str], list[float]] = {}
        self._reset()

    def submit(self, tenant_id: str, units: float) -> None:
        """Note a task that waits."""
        self.waiting[tenant_id].append(units)
        self._largest[tenant_id] = max(self._largest[tenant_id], units)
        self._reset()

    def claim(self, tenant_id: str, units: float) -> None:
        """Note that a task was claimed, and see that no two who wait have drifted apart."""
        assert self.waiting[tenant_id].pop(0) == units
        for pair in self._ahead:
            if tenant_id in pair:
                sign = 1 if pair[0] == tenant_id else -1
                self._ahead[pair].append(self._ahead[pair][-1] + sign * units / self._weights[tenant_id])
        self._reset()
        for pair, ahead in self._ahead.items():
            bound = sum(self._largest[each] / self._weights[each] for each in pair)
            assert max(ahead) - min(ahead) <= bound + 1e-9

    def _reset(self) -> None:
        """Begin to count when both of a pair wait, and stop when one does not."""
        for pair in combinations(self.waiting, 2):
            if not all(self.waiting[each] for each in pair):
                self._ahead.pop(pair, None)
            else:
                self._ahead.setdefault(pair, [0.0])


class Cluster:
    """A store, and what is believed of its queue."""

    def __init__(self, store: TaskStore, *, make_task: MakeTask, request: GenerationRequest) -> None:
        self._store = store
        self._make_task = make_task
        self._request = request
        self._running: list[Task] = []

    async def play(self, weights: Sequence[float], events: Sequence[Any]) -> None:
        """Begin anew with tenants of some weights, and let everything happen."""
        await self._store._database.write(lambda connection: connection.execute(delete(tasks_table)))
        self._running = []
        tenants = {f"tenant-{number}": weight for number, weight in enumerate(weights)}
        for tenant_id, weight in tenants.items():
            await self._set_weight(tenant_id, weight)
        shares = Shares(tenants)
        for event, *values in events:
            await getattr(self, event)(shares, *values)

    async def submit(self, shares: Shares, number: int, count: int, units: float) -> None:
        """Submit some equal tasks."""
        tenant_id = list(shares.waiting)[number % len(shares.waiting)]
        for _ in range(count):
            await self._store.accept(self._make_task(tenant_id=tenant_id, work_units=units), self._request)
            shares.submit(tenant_id, units)

    async def claim(self, shares: Shares, limit: int) -> None:
        """Claim some tasks, as many as there are."""
        waiting = sum(map(len, shares.waiting.values()))
        claims = await self._store.claim(models=["uno"], limit=limit, replica_id="r1", lease_s=60)
        assert len(claims) == min(limit, waiting)
        for claim in claims:
            shares.claim(claim.task.tenant_id, claim.task.work_units)
            self._running.append(claim.task)

    async def end(self, _shares: Shares, number: int) -> None:
        """End one of those that run, if any does."""
        if self._running:
            task = self._running.pop(number % len(self._running))
            assert await self._store.succeed(task.id, fence=task.fence, success=Success(outputs=(), inference_ms=1))

    async def _set_weight(self, tenant_id: str, weight: float) -> None:
        directory = TenantDirectory(self._store._database)
        await directory.ensure(tenant_id)
        await directory.change(Tenant(id=tenant_id, weight=weight, max_queued=None))


def test_who_waits_is_served_by_weight(database_url: str, make_task: MakeTask, make_request: MakeRequest) -> None:
    """While two tenants both wait, the work served to them, by weight, differs by at most one largest task of each.

    Source: the bound of start-time fair queueing, Goyal, Vin and Cheng, 1996, theorem 1, seen 2026-11.
    """
    with asyncio.Runner() as runner:
        store = runner.run(TaskStore.open(database_url))
        cluster = Cluster(store, make_task=make_task, request=make_request())

        @settings(
            max_examples=30,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # to find the smallest example takes minutes where every event is a transaction
            suppress_health_check=list(HealthCheck),
        )
        @given(weights=WEIGHTS, events=EVENTS)
        def holds(weights: list[float], events: list[Any]) -> None:
            runner.run(cluster.play(weights, events))

        try:
            holds()
        finally:
            runner.run(store.close())
