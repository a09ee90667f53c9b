"""The life of tasks as a state machine: in any order of calls, each is refused or does what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, delete

from deployments.database.schema import tasks as tasks_table
from deployments.errors import FaultKind
from deployments.tasks.store import Rescued, TaskStore
from deployments.tasks.task import ALLOWED_MOVES, Beat, Fault, Success, Task, TaskState
from deployments.tenants.directory import TenantDirectory
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]

MAX_ATTEMPTS = 3
MODELS = st.sampled_from(["uno", "uso"])
#: Either long enough to outlast the test, or over before the claim returns.
LEASES_S = st.sampled_from([60.0, -1.0])
STEPS = st.integers(0, 3)


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

    @initialize()
    def empty(self) -> None:
        """Begin without tasks."""

        def work(connection: Connection) -> None:
            connection.execute(delete(tasks_table))

        self.run(self.store._database.write(work))

    @rule(target=accepted, model=MODELS)
    def insert(self, model: str) -> str:
        """An accepted task is queued."""
        task = self.make_task(model=model)
        self.run(self.store.accept(task, self.request))
        self.believed[task.id] = Believed(task)
        return task.id

    @rule(target=handles, models=st.sets(MODELS), limit=st.integers(0, 3), lease_s=LEASES_S)
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

    @rule(handle=handles)
    def succeed(self, handle: Handle) -> None:
        """Only the claim that counts ends its task well."""
        success = Success(outputs=(), inference_ms=0)
        moved = self.run(self.store.succeed(handle.task_id, fence=handle.fence, success=success))
        self._believe(handle, moved=moved, to=TaskState.SUCCEEDED)

    @rule(handle=handles)
    def fail(self, handle: Handle) -> None:
        """Only the claim that counts ends its task badly."""
        fault = Fault(kind=FaultKind.ENGINE_FAILED, message="no")
        moved = self.run(self.store.fail(handle.task_id, fence=handle.fence, fault=fault))
        self._believe(handle, moved=moved, to=TaskState.FAILED)

    @rule(handle=handles)
    def release(self, handle: Handle) -> None:
        """Only the claim that counts hands its task back, and the attempt is forgotten."""
        attempt = self.believed[handle.task_id].task.attempt - 1
        moved = self.run(self.store.release(handle.task_id, fence=handle.fence))
        self._believe(handle, moved=moved, to=TaskState.QUEUED, steps_done=0, attempt=attempt)

    @rule(task_id=accepted, tenant_id=st.sampled_from(["alice", "bob"]))
    def cancel(self, task_id: str, tenant_id: str) -> None:
        """Its tenant, and nobody else, cancels what has not ended."""
        each = self.believed[task_id]
        can_cancel = tenant_id == "alice" and not each.task.state.is_terminal

        assert self.run(self.store.cancel(task_id, tenant_id=tenant_id)) == can_cancel

        if can_cancel:
            each.move(TaskState.CANCELLED)

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
        for task_id, each in self.believed.items():
            found = self.run(self.store.read(task_id, tenant_id="alice"))
            assert found is not None
            assert (found.finished_at is not None) == found.state.is_terminal
            assert (found.fault is not None) == (found.state is TaskState.FAILED)
            assert replace(found, started_at=None, finished_at=None, fault=None) == each.task
            moves = zip(each.history, each.history[1:], strict=False)
            assert all(after in ALLOWED_MOVES[before] for before, after in moves)

    def _believe(self, handle: Handle, *, moved: bool, to: TaskState, **changes: int) -> None:
        each = self.believed[handle.task_id]
        assert moved == each.is_held_by(handle)
        if moved:
            each.move(to, **changes)


def test_task_life(database_url: str, make_task: MakeTask, make_request: MakeRequest) -> None:
    """Whatever is asked in whatever order, nothing is lost or doubled, and an end is an end."""
    with asyncio.Runner() as runner:
        store = runner.run(TaskStore.open(database_url))
        runner.run(TenantDirectory(store._database).ensure("alice"))
        try:
            run_state_machine_as_test(
                lambda: TaskLife(runner=runner, store=store, make_task=make_task, make_request=make_request),  # type: ignore[arg-type]  # it asks for a class, but only calls it
                settings=settings(
                    max_examples=25,
                    stateful_step_count=30,
                    deadline=None,
                    derandomize=True,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(store.close())
