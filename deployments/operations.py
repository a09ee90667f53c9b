"""What a caller can do, the same in every dialect: submit a request, read a task, cancel it.

dialect.parse ──► Submit | Read | Cancel ──► Operations.perform ──► Outcome ──► dialect.render
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from deployments.clock import utc_now
from deployments.errors import BadCall, NotFound, Unavailable
from deployments.tasks.ends import Ends
from deployments.tasks.task import Task
from models.catalog import CATALOG, ModelSpec
from models.cost import work_units
from models.request import GenerationRequest, InvalidRequest

if TYPE_CHECKING:
    from deployments.database.signals import StoreSignal
    from deployments.delivery.sink import Sink
    from deployments.tasks.accept import OnceKey
    from deployments.tasks.bound import QueueBound
    from deployments.tasks.store import TaskStore

_NO_NOTES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Accept a request and, if asked to, wait for its end."""

    #: The complete wish.
    request: GenerationRequest
    #: The dialect it came in.
    dialect: str
    #: Which sink takes the pictures.
    sink: str = "files"
    #: What the dialect wants to find again when it answers later calls.
    notes: Mapping[str, str] = field(default_factory=lambda: _NO_NOTES)
    #: Whether to hold the answer until the task ends.
    wait: bool = False
    #: Under which key the call counts once, however often it arrives.
    once: OnceKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Look at one task."""

    #: Whatever the caller sent as its id.
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End one task, if it has not ended yet."""

    #: Whatever the caller sent as its id.
    task_id: str


Operation = Submit | Read | Cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an operation."""

    #: The task as it is now.
    task: Task
    #: One link or inline content per output of the task.
    pictures: tuple[str, ...]
    #: Whether the caller wants to be answered only once the task has ended.
    is_awaited: bool = False

    @property
    def gave_up_waiting(self) -> bool:
        """Whether the caller wanted the end and the server stopped waiting before it."""
        return self.is_awaited and not self.task.state.is_terminal


class Operations:
    """Carries out operations for one tenant at a time."""

    def __init__(
        self, *, store: TaskStore, signal: StoreSignal, sinks: Mapping[str, Sink], bound: QueueBound, wait_s: float
    ) -> None:
        """Take the doors it works through; ``wait_s`` bounds how long a caller is kept waiting."""
        self._store = store
        self._bound = bound
        self._ends = Ends(store, signal)
        self._sinks = sinks
        self._wait_s = wait_s

    async def perform(self, operation: Operation, *, tenant_id: str, base_url: str) -> Outcome:
        """Do what was asked, without waiting for the end of any task.

        Raises:
            CallRefused: when it cannot be done; nothing was changed.
        """
        match operation:
            case Submit():
                task = await self._accept(operation, tenant_id=tenant_id)
                return self._outcome(task, base_url=base_url, is_awaited=operation.wait)
            case Read():
                task = await self._read(operation.task_id, tenant_id=tenant_id)
                return self._outcome(task, base_url=base_url)
            case Cancel():
                await self._store.cancel(operation.task_id, tenant_id=tenant_id)
                task = await self._read(operation.task_id, tenant_id=tenant_id)
                return self._outcome(task, base_url=base_url)

    async def wait(self, outcome: Outcome, *, base_url: str) -> Outcome:
        """Wait for the end of a task; what comes back has it, or says that the patience of this server ended first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._ends.wait(outcome.task.id)
        task = await self._look_again(outcome.task)
        return self._outcome(task, base_url=base_url, is_awaited=True)

    async def _accept(self, submit: Submit, *, tenant_id: str) -> Task:
        request = submit.request
        spec = _checked(request)
        await self._bound.check()
        task = Task(
            id=secrets.token_hex(16),
            tenant_id=tenant_id,
            model=request.model,
            dialect=submit.dialect,
            notes=submit.notes,
            sink=submit.sink,
            created_at=utc_now(),
            work_units=work_units(request),
            price=spec.price(request),
            steps_total=request.num_images * request.num_inference_steps,
        )
        return await self._store.accept(task, request, once=submit.once)

    async def _read(self, task_id: str, *, tenant_id: str) -> Task:
        task = await self._store.read(task_id, tenant_id=tenant_id)
        if task is None:
            raise NotFound("task not found")
        return task

    async def _look_again(self, task: Task) -> Task:
        try:
            return await self._read(task.id, tenant_id=task.tenant_id)
        except Unavailable:  # the task is accepted: its caller must get its id, whatever becomes of the database
            return task

    def _outcome(self, task: Task, *, base_url: str, is_awaited: bool = False) -> Outcome:
        return Outcome(
            task=task,
            pictures=tuple(self._sinks[output.sink].link(output.value, base_url=base_url) for output in task.outputs),
            is_awaited=is_awaited,
        )


def _checked(request: GenerationRequest) -> ModelSpec:
    spec = CATALOG[request.model]
    try:
        spec.check(request)
    except InvalidRequest as error:
        raise BadCall(str(error)) from error
    return spec
