"""A replica: one device, one engine, and the loops that keep it fed.

    claim ──► fetch references ──► admit ──► step … step ──► encode ──► put ──► finish

Nobody pushes work at a replica: it claims what fits beside what it runs. One thread drives the engine;
fetching, decoding, encoding and placing run beside it, so they never hold up a step. What a replica has
claimed and does not finish, for whatever reason, goes back to the queue when its lease ends.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from deployments.decoding.rules import NoDecoder
from deployments.delivering import deliver, take_back
from deployments.errors import EngineFailed, ReferenceUnusable, TaskFault, Unavailable, UxoError
from deployments.replica.bringing import bring, sized
from deployments.replica.device_thread import Arguments, DeviceThread, Result
from deployments.replica.doubt import Doubt
from deployments.replica.eagerness import Eagerness
from deployments.replica.holding import POLITE_S, Held, Load
from deployments.replica.limits import Limits
from deployments.replica.previewing import Previews
from deployments.replica.step_metrics import note_content, note_step
from deployments.replica.task_trace import trace_task
from deployments.rounds import forever, run_until
from deployments.tasks.task import Claim, Fault, Output, Success, TaskState
from deployments.telemetry.laps import noting
from deployments.telemetry.metrics import CLAIM_DELAY, LEASES_LOST
from models.engine import Engine, StepReport
from models.pipeline import DeviceBroken
from models.request import GeneratedImage, UnusableReference

if TYPE_CHECKING:
    from deployments.replica.doors import Doors

log = structlog.get_logger()

#: Seconds after which a claim is tried again without a signal.
POLL_S = 1.0
#: Over how many steps the time of one is averaged.
STEPS_REMEMBERED = 8
#: Seconds between two looks for cancelled tasks, however often the store changes.
LOOK_EVERY_S = 0.25


class DeviceStuck(UxoError):
    """A call to the device does not return; the process has to be replaced."""


class Replica:
    """Claims tasks of its engine's models, steps them, and delivers their pictures."""

    def __init__(self, name: str, *, engine: Engine, doors: Doors, limits: Limits) -> None:
        """Take a loaded engine and the doors to work through; ``name`` is written into every claim."""
        self._name = name
        self._engine = engine
        self._doors = doors
        self._limits = limits
        self._device = DeviceThread()
        self._previews = Previews(doors.store)
        self._found = False
        self._eagerness = Eagerness(name)
        self._held: dict[str, Held] = {}
        self._models = deque(sorted(engine.models))
        self._claiming: asyncio.Task[int] | None = None
        self._errands: set[asyncio.Task[None]] = set()
        self._has_room = asyncio.Event()
        self._has_work = asyncio.Event()
        self._doubt = Doubt()
        self._is_empty = asyncio.Event()
        self._step_s = 0.0
        self._note_room()

    def __repr__(self) -> str:
        """Say how full it is."""
        return f"<Replica {self._name} [{len(self._held)} of {self._limits.capacity} tasks]>"

    async def run(self, stopping: asyncio.Event) -> None:
        """Claim, step and beat until told to stop; then finish what there is time for, and hand back the rest.

        Raises:
            DeviceStuck: in a group, when the device no longer answers.
            DeviceBroken: in a group, when it answers that it is lost, or nothing goes well on it any more.
        """
        drained = asyncio.Event()
        work = [forever(once) for once in (self._step_once, self._beat_once, self._look_once)]
        try:
            async with asyncio.TaskGroup() as working:
                working.create_task(run_until(drained, *work, self._watch_device()))
                await run_until(stopping, forever(self._claim_once))
                await self._drain()
                drained.set()
        finally:
            await self._hand_back()

    async def _claim_once(self) -> None:
        """Claim one task once there is room; when there is nothing to claim, wait until there may be."""
        await self._has_room.wait()
        if not self._found and not self._load.unfinished:
            await asyncio.sleep(self._eagerness.pause_s())
        seen = self._doors.signal.mark()
        if self._load.unfinished and not self._found:
            await asyncio.sleep(POLITE_S)  # what comes meanwhile is too new for it, and wakes it again
        # Shielded: a claim that is committed must be held, or stopping here would leave it to the end of its lease.
        self._claiming = asyncio.create_task(self._claim())
        self._found = bool(await asyncio.shield(self._claiming))
        if not self._found:
            await self._doors.signal.wait(seen, timeout_s=POLL_S)
        self._eagerness.note(was_in_vain=not self._found and self._doors.signal.mark() != seen)

    async def _claim(self) -> int:
        claims = await self._doors.store.claim(
            models=self._next_models(),
            limit=1,
            restraint=self._load.restraint,
            replica_id=self._name,
            lease_s=self._limits.lease_s,
        )
        for claim in claims:
            self._hold(claim)
        return len(claims)

    @property
    def _load(self) -> Load:
        return Load(held=self._held.values(), step_s=self._step_s, ahead_s=self._limits.ahead_s)

    def _next_models(self) -> list[str]:
        """Return the models, another one first each time, so that none has to wait for the others."""
        self._models.rotate(1)
        return list(self._models)

    async def _step_once(self) -> None:
        """Step the engine until it is idle, and send on what finishes on the way."""
        await self._has_work.wait()
        self._has_work.clear()  # before stepping, so that an admission meanwhile sets it again
        try:
            while not self._engine.is_idle:
                await self._step()
        finally:
            if not self._engine.is_idle:  # whatever went wrong, the next round goes on with what is there
                self._has_work.set()

    async def _step(self) -> None:
        started = time.monotonic()
        first = [held.task_id for held in self._load.ending]
        try:
            report = await self._on_device(self._engine.step, first=first)
        except Exception:
            self._doubt.stumble(self._held)
            raise
        self._doubt.recover()
        self._send_on(report)  # before all else: the engine has forgotten what it reports as finished
        note_step(report)
        step_s = time.monotonic() - started
        self._step_s += (step_s - self._step_s) / (STEPS_REMEMBERED if self._step_s else 1)
        self._note_room()

    async def _on_device(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Call the engine; note when the device turns out to be lost."""
        try:
            return await self._device.call(function, *args, **kwargs)
        except DeviceBroken as error:
            self._doubt.lose("device_broken", error.suspects)
            raise

    async def _beat_once(self) -> None:
        """Renew the leases of all but what the device no longer moves for; let go of what is no longer ours."""
        await asyncio.sleep(self._limits.beat_s)
        is_stuck = self._device.stuck_s > self._limits.doubt_s(self._engine.usual_s)
        doubtful = self._engine.at_work if is_stuck else ()
        asked = {task_id: held for task_id, held in self._held.items() if task_id not in doubtful}
        ours = await self._doors.store.beat([held.beat for held in asked.values()], lease_s=self._limits.lease_s)
        for task_id, held in asked.items():
            if task_id not in ours and self._is_held(held):
                self._let_go(held)

    async def _look_once(self) -> None:
        """Let go of what was cancelled as soon as the store says that something has changed."""
        seen = self._doors.signal.mark()
        asked = list(self._held.values())
        ours = await self._doors.store.still_claimed({held.task_id: held.fence for held in asked})
        for held in asked:
            if held.task_id not in ours and self._is_held(held):
                self._let_go(held)
        await self._doors.signal.wait(seen, timeout_s=POLL_S)
        await asyncio.sleep(LOOK_EVERY_S)

    async def _drain(self) -> None:
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_s):
                await self._is_empty.wait()

    async def _watch_device(self) -> None:
        while self._device.stuck_s < self._limits.given_up_s(self._engine.usual_s):
            with suppress(TimeoutError):  # a thread that hangs can set no event, so it is looked at again and again
                await asyncio.wait_for(self._doubt.is_lost.wait(), self._limits.beat_s)
                self._log_loss()
                raise DeviceBroken
        self._doubt.lose("device_stuck", self._engine.at_work)
        self._log_loss(stuck_s=round(self._device.stuck_s))
        raise DeviceStuck

    def _log_loss(self, **more: object) -> None:
        log.error(self._doubt.reason, replica=self._name, suspects=sorted(self._doubt.suspects), **more)

    def _hold(self, claim: Claim) -> None:
        task = claim.task
        waited_s = ((task.started_at or task.created_at) - task.created_at).total_seconds()
        CLAIM_DELAY.observe(waited_s, model=task.model)
        log.info("task_claimed", task_id=task.id, attempt=task.attempt, waited_s=waited_s)
        held = Held(claim=claim, since_s=time.monotonic())
        for other in self._load.going_on:
            other.times_overtaken += other.claim.rank > claim.rank
        self._held[task.id] = held
        self._note_room()
        self._run_errand(held, self._feed(held))

    def _is_held(self, held: Held) -> bool:
        return self._held.get(held.task_id) is held

    def _drop(self, held: Held) -> None:
        if self._is_held(held):
            del self._held[held.task_id]
            trace_task(held)
        self._note_room()

    def _note_room(self) -> None:
        _show(self._has_room, len(self._held) < self._limits.capacity and self._load.below_rank > 0)
        _show(self._is_empty, not self._held)

    def _let_go(self, held: Held) -> None:
        """Stop working on a task that was cancelled or claimed by another replica."""
        log.warning("task_lost", task_id=held.task_id)
        self._run_errand(held, self._count_loss(held))
        self._drop(held)
        if held.delivery is not None:
            held.delivery.cancel()  # a sink may try for minutes
        self._run_errand(held, self._evict(held))  # beside the beats, which must not wait for the device

    async def _evict(self, held: Held) -> None:
        note_content(await self._device.call(self._engine.evict, held.task_id))

    async def _count_loss(self, held: Held) -> None:
        """Count a lease that was lost, once; a task that was cancelled or deleted is no loss."""
        task, held.is_lost, was_lost = held.claim.task, True, held.is_lost
        if was_lost:
            return
        found = await self._doors.store.read_state(task.id, tenant_id=task.tenant_id)
        if found is not None and found.state is not TaskState.CANCELLED:
            LEASES_LOST.add()

    def _send_on(self, report: StepReport) -> None:
        for task_id, held in self._held_of(report.stretches):
            held.let_off(report.stretches[task_id])
        for task_id, held in self._held_of(report.progress):
            held.steps_done = report.progress[task_id]
        for task_id, held in self._held_of(report.previews):
            self._previews.show(held.beat, report.previews[task_id][-1])
        for task_id, held in self._held_of(report.failed):
            self._run_errand(held, self._fail(held, report.failed[task_id]))
        for task_id, held in self._held_of(report.finished):
            self._run_errand(held, self._deliver(held, report.finished[task_id]))

    def _held_of(self, task_ids: Iterable[str]) -> list[tuple[str, Held]]:
        return [(task_id, self._held[task_id]) for task_id in task_ids if task_id in self._held]

    def _run_errand(self, held: Held, errand: Coroutine[Any, Any, None]) -> None:
        """Run what one task needs beside the loops; what it raises touches that task alone."""
        running = asyncio.create_task(self._guard(held, errand))
        self._errands.add(running)
        running.add_done_callback(self._errands.discard)

    async def _guard(self, held: Held, errand: Coroutine[Any, Any, None]) -> None:
        try:
            with noting(held.laps):
                await errand
        except Exception:  # the store or a sink is in trouble: the lease ends by itself, and the task is tried again
            log.exception("errand_failed", task_id=held.task_id)
            self._drop(held)

    async def _feed(self, held: Held) -> None:
        """Bring a claimed task's references and make it resident."""
        request = held.claim.request
        try:
            tenant_id = held.claim.task.tenant_id
            images = await bring(
                self._doors.fetcher, request.references, tenant_id=tenant_id, decode=self._doors.decode
            )
            held.fetched_s = time.monotonic()
            if not self._is_held(held):
                return
            request = sized(request, images)
            every = self._limits.preview_every if self._doors.may_preview(request.safety) else 0
            standing = replace(held.standing, preview_every=every)
            await self._on_device(self._engine.admit, held.task_id, request, images, standing=standing)
        except DeviceBroken:  # not the task's fault: it goes back with all others
            return
        except (NoDecoder, OSError, Unavailable):  # no decoder, sink or database: its lease ends, and it goes on
            raise
        except Exception as error:  # noqa: BLE001 -- whatever a model raises is this task's failure, not the replica's
            await self._fail(held, error)
            return
        if held.task_id not in self._held:
            await self._evict(held)
        self._has_work.set()

    async def _deliver(self, held: Held, images: Sequence[GeneratedImage]) -> None:
        """Place a finished task's pictures, then finish it: bytes first, so that a success always has them."""
        if not self._is_held(held):
            return
        held.delivery = asyncio.create_task(deliver(held.claim, images, ways=self._doors, placed=held.placed))
        try:
            delivered = await held.delivery
        except TaskFault as error:
            await self._fail(held, error)
            await self._take_back(held)
            return
        except asyncio.CancelledError:
            if self._is_held(held):  # it is the replica that stops
                raise
            await self._take_back(held)
            return
        if delivered.failure is not None:
            await self._fail(held, delivered.failure, delivered.outputs)
            return
        success = Success(
            outputs=delivered.outputs, inference_ms=held.spent_ms, device_s=held.device_s, spent=held.spent
        )
        is_ours = await self._doors.store.succeed(held.task_id, fence=held.fence, success=success)
        log.info("task_succeeded" if is_ours else "task_lost", task_id=held.task_id, inference_ms=held.spent_ms)
        self._drop(held)
        if not is_ours:
            await self._take_back(held)
            await self._count_loss(held)

    async def _fail(self, held: Held, error: Exception, outputs: tuple[Output, ...] = ()) -> None:
        if not self._is_held(held):
            await self._take_back(held)
            return
        fault = _fault_of(error)
        log.warning("task_failed", task_id=held.task_id, kind=fault.kind, error=repr(error))
        told = Fault(kind=fault.kind, message=fault.message)
        is_ours = await self._doors.store.fail(
            held.task_id, fence=held.fence, fault=told, outputs=outputs, spent=held.spent
        )
        self._drop(held)
        if not is_ours:
            await self._take_back(held)
            await self._count_loss(held)

    async def _take_back(self, held: Held) -> None:
        if held.placed:
            await take_back(held.claim.task, held.placed, store=self._doors.store, sinks=self._doors.sinks)

    async def _hand_back(self) -> None:
        """Give unfinished tasks back to the queue at once; only those under suspicion wait for their lease to end."""
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        # Errands end before the device closes, or one would take the closed door for its task's failure.
        errands = list(self._errands)
        for errand in errands:
            errand.cancel()
        await asyncio.gather(*errands, return_exceptions=True)
        await self._previews.close()
        self._device.close()
        trusted = [held for held in self._held.values() if held.task_id not in self._doubt.suspects]
        handing_back = [self._doors.store.release(held.task_id, fence=held.fence) for held in trusted]
        released = await asyncio.gather(*handing_back, return_exceptions=True)  # one that fails holds up no other
        log.info("replica_stopped", replica=self._name, handed_back=released.count(True), held=len(self._held))


def _fault_of(error: Exception) -> TaskFault:
    """Return what a caller is told of what went wrong, wherever it did: whose mistake it is, and no more."""
    match error:
        case TaskFault():
            return error
        case UnusableReference():
            return ReferenceUnusable(str(error))
    return EngineFailed()


def _show(event: asyncio.Event, is_so: bool) -> None:  # noqa: FBT001 -- the fact to show
    if is_so:
        event.set()
    else:
        event.clear()
