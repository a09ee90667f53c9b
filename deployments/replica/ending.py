"""How tasks end at a replica: their pictures taken out and the end written down, while the claim counts.

deliver ─► placed ─► succeed ─► ours: done
└───────────────► another's by now: what was placed is taken back, and the loss is counted
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from deployments.delivering import deliver, take_back
from deployments.errors import EngineFailed, ReferenceUnusable, TaskFault
from deployments.tasks.task import Fault, Output, Success, TaskState
from deployments.telemetry.metrics import LEASES_LOST
from models.request import GeneratedImage, UnusableReference

if TYPE_CHECKING:
    from deployments.replica.custody import Custody
    from deployments.replica.doors import Doors
    from deployments.replica.holding import Held

log = structlog.get_logger()


class Ending:
    """Ends the tasks that a replica holds."""

    def __init__(self, doors: Doors, custody: Custody) -> None:
        """Take the doors through which tasks end, and what is held."""
        self._doors = doors
        self._custody = custody

    async def deliver(self, held: Held, images: Sequence[GeneratedImage]) -> None:
        """Place a finished task's pictures, then finish it: bytes first, so that a success always has them."""
        if held not in self._custody:
            return
        held.delivery = asyncio.create_task(deliver(held.claim, images, ways=self._doors, placed=held.placed))
        try:
            delivered = await held.delivery
        except TaskFault as error:
            await self.fail(held, error)
            await self._take_back(held)
            return
        except asyncio.CancelledError:
            if held in self._custody:  # it is the replica that stops
                raise
            await self._take_back(held)
            return
        if delivered.failure is not None:
            await self.fail(held, delivered.failure, delivered.outputs)
            return
        success = Success(
            outputs=delivered.outputs, inference_ms=held.spent_ms, device_s=held.device_s, spent=held.spent
        )
        held.is_closing = True
        is_ours = await self._doors.store.succeed(held.task_id, fence=held.fence, success=success)
        log.info("task_succeeded" if is_ours else "task_lost", task_id=held.task_id, inference_ms=held.spent_ms)
        await self._be_done(held, is_ours=is_ours)

    async def fail(self, held: Held, error: Exception, outputs: tuple[Output, ...] = ()) -> None:
        """Write down that a task has failed, and what of it is there nevertheless."""
        if held not in self._custody:
            await self._take_back(held)
            return
        fault = _fault_of(error)
        log.warning("task_failed", task_id=held.task_id, kind=fault.kind, error=repr(error))
        told = Fault(kind=fault.kind, message=fault.message)
        held.is_closing = True
        is_ours = await self._doors.store.fail(
            held.task_id, fence=held.fence, fault=told, outputs=outputs, spent=held.spent
        )
        await self._be_done(held, is_ours=is_ours)

    async def count_loss(self, held: Held) -> None:
        """Count a lease that was lost, once; a task that was cancelled or deleted is no loss."""
        task, held.is_lost, was_lost = held.claim.task, True, held.is_lost
        if was_lost:
            return
        found = await self._doors.store.read_state(task.id, tenant_id=task.tenant_id)
        if found is not None and found.state is not TaskState.CANCELLED:
            LEASES_LOST.add()

    async def _be_done(self, held: Held, *, is_ours: bool) -> None:
        self._custody.drop(held)
        if not is_ours:
            await self._take_back(held)
            await self.count_loss(held)

    async def _take_back(self, held: Held) -> None:
        if held.placed:
            await take_back(held.claim.task, held.placed, store=self._doors.store, sinks=self._doors.sinks)


def _fault_of(error: Exception) -> TaskFault:
    """Return what a caller is told of what went wrong, wherever it did: whose mistake it is, and no more."""
    match error:
        case TaskFault():
            return error
        case UnusableReference():
            return ReferenceUnusable(str(error))
    return EngineFailed()
