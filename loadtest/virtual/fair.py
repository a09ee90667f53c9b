"""The fair order of one model in memory: what ``deployments.tasks`` keeps in a table. Pure.

Places are given by the accept's own ``fair_key``; who is next is what the claim's statement would choose. A test lets
both carry out the same submissions, claims and cancels and compares every choice.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from heapq import heappop, heappush

from deployments.tasks.accept import fair_key
from deployments.tasks.claim import ANY_RANK, MANY
from loadtest.virtual.work import Work

#: How many tenants are looked at for one that is allowed; beyond that, order and not rank decides.
LOOKED_AT = 64


@dataclass(eq=False, slots=True, kw_only=True)
class Task:
    """An accepted request and its place."""

    #: What was asked for.
    work: Work
    #: Its place in fair order.
    key: float
    #: Where its tenant's work before it and itself end.
    finish: float
    #: Counted over all acceptances.
    number: int
    #: How often it was claimed.
    attempt: int = 0
    #: Whether it waits.
    is_queued: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A task that was claimed, and how it may treat others."""

    #: Which.
    task: Task
    #: How many tasks of its tenant were running before.
    rank: int
    #: Whether its tenant left many waiting.
    yields: bool


@dataclass(slots=True, kw_only=True)
class _Tenant:
    """What fair order knows of a tenant, within one model."""

    heap: list[tuple[float, int, Task]] = field(default_factory=list)
    queued: int = 0
    finish: float | None = None
    claimed_finish: tuple[float, float] | None = None


class FairOrder:
    """What waits for one model.

    Args:
        running: how many tasks run for each tenant, over all models; kept by whoever runs them.
        max_running: a tenant's cap on running tasks; None means there is none.
    """

    def __init__(self, running: dict[str, int], *, max_running: int | None = None) -> None:
        self._running = running
        self._max_running = max_running or ANY_RANK
        self._tenants: dict[str, _Tenant] = {}
        self._heads: list[tuple[float, int, str]] = []
        self._furthest: float | None = None
        self._accepted = 0
        #: Tasks and work units that wait.
        self.queued, self.queued_units = 0, 0.0

    def __repr__(self) -> str:
        """Say how much waits."""
        return f"<FairOrder [{self.queued} waiting of {len(self._tenants)} tenants]>"

    def accept(self, work: Work, *, weight: float = 1.0) -> Task:
        """Give a request its place."""
        tenant = self._tenants.setdefault(work.tenant, _Tenant())
        claimed = tenant.claimed_finish and tenant.claimed_finish[1]
        key = fair_key(virtual_now=self._now(), finishes=(tenant.finish, claimed))
        task = Task(work=work, key=key, finish=key + work.units / weight, number=self._accepted)
        self._accepted += 1
        tenant.finish = task.finish
        self._enter(task, tenant)
        return task

    def take(self, *, below_rank: int = ANY_RANK, not_of: Collection[str] = ()) -> Taken | None:
        """Claim the next task of whom it is allowed to; None when there is none."""
        passed: list[tuple[float, int, str]] = []
        bound = min(below_rank, self._max_running)
        most = LOOKED_AT if below_rank < ANY_RANK else len(self._heads)
        found = None
        while self._heads and found is None and len(passed) <= most:
            entry = heappop(self._heads)
            if not self._is_head(entry):
                continue
            if self._running.get(entry[2], 0) >= bound or entry[2] in not_of:
                passed.append(entry)
            else:
                found = self._claim(entry[2])
        for entry in passed:
            heappush(self._heads, entry)
        return found

    def has_waiting_of(self, tenant_id: str) -> bool:
        """Say whether anything waits for a tenant."""
        tenant = self._tenants.get(tenant_id)
        return tenant is not None and tenant.queued > 0

    def queued_of(self, tenant_id: str) -> int:
        """Count what waits for a tenant."""
        tenant = self._tenants.get(tenant_id)
        return tenant.queued if tenant else 0

    def put_back(self, task: Task) -> None:
        """Let a task wait again whose replica let go of it; it keeps its place."""
        task.is_queued = True
        self._enter(task, self._tenants[task.work.tenant])

    def remove(self, task: Task) -> None:
        """Take a task out that waits."""
        tenant = self._tenants[task.work.tenant]
        task.is_queued = False
        self._count(task, tenant, -1)
        left = [each.finish for _, _, each in tenant.heap if each.is_queued]
        tenant.finish = max(left, default=None)
        self._show_head(task.work.tenant, tenant)

    def _now(self) -> float:
        if self._furthest is not None:
            return self._furthest
        while self._heads and not self._is_head(self._heads[0]):
            heappop(self._heads)
        return self._heads[0][0] if self._heads else 0.0

    def _enter(self, task: Task, tenant: _Tenant) -> None:
        heappush(tenant.heap, (task.key, task.number, task))
        self._count(task, tenant, 1)
        if tenant.heap[0][2] is task:
            self._show_head(task.work.tenant, tenant)

    def _claim(self, tenant_id: str) -> Taken:
        tenant = self._tenants[tenant_id]
        task = heappop(tenant.heap)[2]
        task.is_queued, task.attempt = False, task.attempt + 1
        self._count(task, tenant, -1)
        self._furthest = task.key if self._furthest is None else max(task.key, self._furthest)
        tenant.claimed_finish = max((task.key, task.finish), tenant.claimed_finish or (task.key, task.finish))
        rank = self._running.get(tenant_id, 0)
        self._running[tenant_id] = rank + 1
        self._show_head(tenant_id, tenant)
        return Taken(task=task, rank=rank, yields=tenant.queued >= MANY)

    def _count(self, task: Task, tenant: _Tenant, change: int) -> None:
        tenant.queued += change
        self.queued += change
        self.queued_units += change * task.work.units

    def _is_head(self, entry: tuple[float, int, str]) -> bool:
        heap = self._tenants[entry[2]].heap
        return bool(heap) and heap[0][1] == entry[1] and heap[0][2].is_queued

    def _show_head(self, tenant_id: str, tenant: _Tenant) -> None:
        while tenant.heap and not tenant.heap[0][2].is_queued:
            heappop(tenant.heap)
        if tenant.heap:
            key, number, _ = tenant.heap[0]
            heappush(self._heads, (key, number, tenant_id))
