"""The life of tasks as a state machine: in any order of calls, each is refused or does what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, delete, select, update

from deployments.database.schema import charges, tenants
from deployments.database.schema import tasks as tasks_table
from deployments.errors import FaultKind, KeyReused
from deployments.tasks.accept import OnceKey
from deployments.tasks.rows import from_row
from deployments.tasks.store import Rescued, TaskStore
from deployments.tasks.task import ALLOWED_MOVES, Beat, Fault, Success, Task, TaskState
from deployments.tasks.waterfall import Part
from deployments.tenants.directory import TenantDirectory
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]

MAX_ATTEMPTS = 3
MODELS = st.sampled_from(["uno", "uso"])
#: Either long enough to outlast the test, or over before the claim returns.
LEASES_S = st.sampled_from([60.0, -1.0])
STEPS = st.integers(0, 3)
#: What a task costs, in an amount that steps divide with a remainder.
PRICES = st.integers(0, 100)
#: Few keys and few bodies, so that the same ones come again.
ONCE_KEYS = st.none() | st.builds(OnceKey, key=st.sampled_from(["k1", "k2", "k3"]), fingerprint=st.sampled_from("ab"))


@dataclass(frozen=True)
class Handle:
    """What a replica remembers of a claim, be it still valid or not."""

    #: The task.
    task_id: str
    #: The claim's fence.
    fence: int


@dataclass
class Believed:
    """What the machine believes of one task."""

    #: What a read should show, as far as it does not depend on the clock.
    task: Task
    #: Whether its lease has run out.
    is_expired: bool = False
    #: Every state it was seen in.
    history: list[TaskState] = field(default_factory=lambda: [TaskState.QUEUED])

    def move(self, state: TaskState, **changes: Any) -> None:
        """Believe that the task has moved."""
        self.task = replace(self.task, state=state, **changes)
        self.history.append(state)

    @property
    def cost(self) -> int:
        """What it has cost its tenant so far."""
        task = self.task
        if task.fault is not None and task.fault.kind is FaultKind.UPLOAD_FAILED:
            return task.price
        steps = {TaskState.SUCCEEDED: task.steps_total, TaskState.CANCELLED: min(task.steps_done, task.steps_total)}
        return task.price * steps.get(task.state, 0) // task.steps_total

    def is_held_by(self, handle: Handle) -> bool:
        """Whether a claim is the one that counts."""
        return self.task.state is TaskState.RUNNING and self.task.fence == handle.fence


class TaskLife(RuleBasedStateMachine):
    """Calls a real store and a simple belief side by side."""

    accepted = Bundle("accepted")
    handles = Bundle("handles")

    def __init__(
        self, *, runner: asyncio.Runner, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
    ) -> None:
        super().__init__()
        self.run = runner.run
        self.store = store
        self.make_task = make_task
        self.request = make_request()
        self.believed: dict[str, Believed] = {}
        self.answered: dict[str, tuple[str, str]] = {}

    @initialize()
    def empty(self) -> None:
        """Begin without tasks and without debts."""

        def work(connection: Connection) -> None:
            connection.execute(delete(tasks_table))
            connection.execute(delete(charges))
            connection.execute(update(tenants).values(held=0, spent=0))

        self.run(self.store._database.write(work))

    @rule(target=accepted, model=MODELS, price=PRICES, once=ONCE_KEYS)
    def accept(self, model: str, price: int, once: OnceKey | None) -> object:
        """An accepted task is queued; a call that comes again is answered with its task, another one is refused."""
        task = self.make_task(model=model, price=price, steps_total=3)
        fingerprint, first_id = self.answered.get(once.key, ("", "")) if once else ("", "")
        if once and first_id and fingerprint != once.fingerprint:
            with pytest.raises(KeyReused):
                self.run(self.store.accept(task, self.request, once=once))
            return multiple()

        answer = self.run(self.store.accept(task, self.request, once=once))

        assert answer.id == (first_id or task.id)
        if not first_id:
            self.believed[task.id] = Believed(task)
        if once:
            self.answered[once.key] = (once.fingerprint, answer.id)
        return answer.id

    @rule(target=handles, models=st.sets(MODELS, min_size=1), limit=st.integers(1, 3), lease_s=LEASES_S)
    def claim(self, models: set[str], limit: int, lease_s: float) -> object:
        """The oldest queued tasks of the models are claimed, one of each model in turn, and no others."""
        turns = sorted(models)
        oldest = self.next_in_turn(turns)[:limit]

        claims = self.run(self.store.claim(models=turns, limit=limit, replica_id="r", lease_s=lease_s))

        assert [claim.task.id for claim in claims] == [each.task.id for each in oldest]
        for each in oldest:
            each.is_expired = lease_s < 0
            each.move(TaskState.RUNNING, attempt=each.task.attempt + 1, fence=each.task.fence + 1)
        return multiple(*(Handle(claim.task.id, claim.task.fence) for claim in claims))

    def next_in_turn(self, turns: list[str]) -> list[Believed]:
        """Return what waits, the oldest of every model, then the second oldest of every model, and so on."""
        waiting = sorted(
            (each for each in self.believed.values() if each.task.state is TaskState.QUEUED),
            key=lambda each: each.task.created_at,
        )
        lines = [[each for each in waiting if each.task.model == model] for model in turns]
        return [each for row in zip_longest(*lines) for each in row if each is not None]

    @rule(handle=handles, steps_done=STEPS, lease_s=LEASES_S)
    def beat(self, handle: Handle, steps_done: int, lease_s: float) -> None:
        """A beat tells whether the claim counts, and renews its lease if it does."""
        each = self.believed[handle.task_id]
        beat = Beat(task_id=handle.task_id, fence=handle.fence, steps_done=steps_done)

        held = self.run(self.store.beat([beat], lease_s=lease_s))

        assert (handle.task_id in held) == each.is_held_by(handle)
        if not held:
            return
        each.is_expired = lease_s < 0
        each.task = replace(each.task, steps_done=max(steps_done, each.task.steps_done))

    @rule(
        handle=handles,
        to=st.sampled_from([TaskState.SUCCEEDED, TaskState.FAILED, TaskState.QUEUED]),
        kind=st.sampled_from([FaultKind.ENGINE_FAILED, FaultKind.UPLOAD_FAILED]),
    )
    def let_go(self, handle: Handle, to: TaskState, kind: FaultKind) -> None:
        """Only the claim that counts ends its task, well or badly, or hands it back and the attempt is forgotten."""
        each = self.believed[handle.task_id]
        is_held, fault = each.is_held_by(handle), Fault(kind=kind, message="no")

        assert self.run(self.tell(handle, to, fault)) == is_held

        if is_held and to is TaskState.QUEUED:
            each.move(to, steps_done=0, attempt=each.task.attempt - 1)
        elif is_held:
            each.move(to, fault=fault if to is TaskState.FAILED else None)

    async def tell(self, handle: Handle, to: TaskState, fault: Fault) -> bool:
        """Tell the store what became of a claim."""
        task_id, fence = handle.task_id, handle.fence
        match to:
            case TaskState.SUCCEEDED:
                return await self.store.succeed(task_id, fence=fence, success=Success(outputs=(), inference_ms=0))
            case TaskState.FAILED:
                return await self.store.fail(task_id, fence=fence, fault=fault)
        return await self.store.release(task_id, fence=fence)

    @rule(task_id=accepted, tenant_id=st.sampled_from(["alice", "bob"]))
    def cancel(self, task_id: str, tenant_id: str) -> None:
        """Its tenant, and nobody else, cancels what has not ended."""
        each = self.believed[task_id]
        can_cancel = tenant_id == "alice" and not each.task.state.is_terminal

        assert self.run(self.store.cancel(task_id, tenant_id=tenant_id)) == can_cancel

        if can_cancel:
            waits_again = each.task.state is TaskState.QUEUED and TaskState.RUNNING in each.history
            each.move(TaskState.CANCELLED, spent={Part.QUEUED: 0.0} if waits_again else {})

    @precondition(lambda self: any(each.task.state is TaskState.RUNNING for each in self.believed.values()))
    @rule()
    def rescue(self) -> None:
        """Exactly the tasks whose lease ran out are queued again, or given up after their last attempt."""
        lost = [each for each in self.believed.values() if each.task.state is TaskState.RUNNING and each.is_expired]
        given_up = [each for each in lost if each.task.attempt >= MAX_ATTEMPTS]

        rescued = self.run(self.store.rescue(max_attempts=MAX_ATTEMPTS))

        assert rescued == Rescued(requeued=len(lost) - len(given_up), quarantined=len(given_up))
        for each in lost:
            if each in given_up:
                each.move(TaskState.FAILED)
            else:
                each.move(TaskState.QUEUED, steps_done=0)

    @invariant()
    def the_store_shows_what_is_believed(self) -> None:
        """No task is lost, doubled or changed in any way that was not asked for, and no move is forbidden."""
        rows = self.run(self.store._database.rows(select(tasks_table)))
        assert {row.id for row in rows} == set(self.believed)
        for found in map(from_row, rows):
            each = self.believed[found.id]
            assert (found.finished_at is not None) == found.state.is_terminal
            assert (found.fault is not None) == (found.state is TaskState.FAILED)
            assert replace(found, started_at=None, finished_at=None, fault=None) == each.task
            moves = zip(each.history, each.history[1:], strict=False)
            assert all(after in ALLOWED_MOVES[before] for before, after in moves)

    @invariant()
    def money_is_where_it_belongs(self) -> None:
        """What is held is the price of all that has not ended, and what was spent is what was charged, task by task."""
        alive = [each.task for each in self.believed.values() if not each.task.state.is_terminal]
        [tenant] = self.run(self.store._database.rows(select(tenants).where(tenants.c.id == "alice")))
        rows = self.run(self.store._database.rows(select(charges)))

        charged = {task_id: each.cost for task_id, each in self.believed.items() if each.cost}
        assert {row.task_id: row.amount for row in rows} == charged
        assert (tenant.held, tenant.spent) == (sum(task.price for task in alive), sum(charged.values()))


def test_task_life(database_url: str, make_task: MakeTask, make_request: MakeRequest) -> None:
    """Whatever is asked in whatever order, nothing is lost or doubled, and an end is an end."""
    with asyncio.Runner() as runner:
        store = runner.run(TaskStore.open(database_url))
        runner.run(TenantDirectory(store._database).ensure("alice"))
        try:
            run_state_machine_as_test(
                lambda: TaskLife(runner=runner, store=store, make_task=make_task, make_request=make_request),  # type: ignore[arg-type]  # it asks for a class, but only calls it
                settings=settings(
                    max_examples=80,
                    stateful_step_count=30,
                    derandomize=True,
                    database=None,
                    phases=[Phase.generate],  # to find the shortest life takes minutes: every move is a transaction
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(store.close())
