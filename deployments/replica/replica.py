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
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from deployments.decoding.rules import NoDecoder
from deployments.errors import Unavailable, UxoError
from deployments.replica.bringing import bring, sized
from deployments.replica.custody import Custody
from deployments.replica.device_thread import Arguments, DeviceThread, Result
from deployments.replica.doubt import Doubt
from deployments.replica.eagerness import Eagerness
from deployments.replica.ending import Ending
from deployments.replica.errands import Errands
from deployments.replica.holding import Held
from deployments.replica.limits import Limits
from deployments.replica.previewing import Previews
from deployments.replica.step_metrics import note_content, note_step
from deployments.rounds import Round, first_of, forever, run_until
from deployments.tasks.task import Claim
from deployments.telemetry.metrics import CLAIM_DELAY
from models.engine import Engine
from models.pipeline import DeviceBroken
from models.report import StepReport

if TYPE_CHECKING:
    from deployments.replica.doors import Doors

log = structlog.get_logger()

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
        self._custody = Custody(limits)
        self._ending = Ending(doors, self._custody)
        self._errands = Errands(self._custody.drop)
        self._models = deque(sorted(engine.models))
        self._claiming: asyncio.Task[int] | None = None
        self._has_work = asyncio.Event()
        self._doubt = Doubt()

    def __repr__(self) -> str:
        """Say how full it is."""
        return f"<Replica {self._name} [{len(self._custody)} of {self._limits.capacity} tasks]>"

    async def run(self, stopping: asyncio.Event) -> None:
        """Claim, step and beat until told to stop; then finish what there is time for, and hand back the rest.

        Raises:
            DeviceStuck: in a group, when the device no longer answers.
            DeviceBroken: in a group, when it answers that it is lost, or nothing goes well on it any more.
        """
        drained = asyncio.Event()
        rounds = {Round.STEP: self._step_once, Round.BEAT: self._beat_once, Round.LOOK: self._look_once}
        work = [forever(name, once) for name, once in rounds.items()]
        try:
            async with asyncio.TaskGroup() as working:
                working.create_task(run_until(drained, *work, self._watch_device()))
                await run_until(stopping, forever(Round.CLAIM, self._claim_once))
                await self._drain()
                drained.set()
        finally:
            await self._hand_back()

    async def _claim_once(self) -> None:
        """Claim one task once there is room; when there is nothing to claim, wait until there may be."""
        custody = self._custody
        await custody.has_room.wait()
        if not self._found and custody.is_idle.is_set():
            await asyncio.sleep(self._eagerness.pause_s())
        seen = self._doors.signal.mark()
        if not self._found:  # what comes while it is busy is too new for it, and wakes it again
            await first_of(custody.is_idle.wait(), asyncio.sleep(self._limits.polite_s))
        custody.has_more_room.clear()
        # Shielded: a claim that is committed must be held, or stopping here would leave it to the end of its lease.
        self._claiming = asyncio.create_task(self._claim())
        self._found = bool(await asyncio.shield(self._claiming))
        if not self._found:
            await first_of(custody.has_more_room.wait(), self._doors.signal.wait(seen, timeout_s=self._limits.poll_s))
        self._eagerness.note(was_in_vain=not self._found and self._doors.signal.mark() != seen)

    async def _claim(self) -> int:
        claims = await self._doors.store.claim(
            models=self._next_models(),
            limit=1,
            restraint=self._custody.load.restraint,
            replica_id=self._name,
            lease_s=self._limits.lease_s,
        )
        for claim in claims:
            self._hold(claim)
        return len(claims)

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
        first = [held.task_id for held in self._custody.load.ending]
        try:
            report = await self._on_device(self._engine.step, first=first)
        except Exception:
            self._doubt.stumble(held.task_id for held in self._custody if held.is_at_the_engine)
            raise
        self._doubt.recover()
        self._send_on(report)  # before all else: the engine has forgotten what it reports as finished
        note_step(report)
        self._custody.note_step(time.monotonic() - started)

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
        asked = [held for held in self._custody if held.task_id not in doubtful]
        ours = await self._doors.store.beat([held.beat for held in asked], lease_s=self._limits.lease_s)
        self._let_go_of(held for held in asked if held.task_id not in ours)

    async def _look_once(self) -> None:
        """Let go of what was cancelled as soon as the store says that something has changed."""
        seen = self._doors.signal.mark()
        asked = list(self._custody)
        ours = await self._doors.store.still_claimed({held.task_id: held.fence for held in asked})
        self._let_go_of(held for held in asked if held.task_id not in ours)
        await self._doors.signal.wait(seen, timeout_s=self._limits.poll_s)
        await asyncio.sleep(LOOK_EVERY_S)

    async def _drain(self) -> None:
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_s):
                await self._custody.is_empty.wait()

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
        held = self._custody.take(claim)
        self._errands.run(held, self._feed(held))

    def _let_go_of(self, lost: Iterable[Held]) -> None:
        """Stop working on tasks that were cancelled or claimed by another replica."""
        for held in lost:
            if held not in self._custody or held.is_closing:  # a task that has just ended well is claimed no more
                continue
            log.warning("task_lost", task_id=held.task_id)
            self._errands.run(held, self._ending.count_loss(held))
            self._custody.drop(held)
            if held.delivery is not None:
                held.delivery.cancel()  # a sink may try for minutes
            self._errands.run(held, self._evict(held))  # beside the beats, which must not wait for the device

    async def _evict(self, held: Held) -> None:
        note_content(await self._device.call(self._engine.evict, held.task_id))

    def _send_on(self, report: StepReport) -> None:
        for task_id, held in self._custody.named(report.stretches):
            held.let_off(report.stretches[task_id])
        for task_id, held in self._custody.named(report.progress):
            held.steps_done = report.progress[task_id]
        for task_id, held in self._custody.named(report.previews):
            self._previews.show(held.beat, report.previews[task_id][-1])
        for task_id, held in self._custody.named(report.failed):
            self._errands.run(held, self._ending.fail(held, report.failed[task_id]))
        for task_id, held in self._custody.named(report.finished):
            self._errands.run(held, self._ending.deliver(held, report.finished[task_id]))

    async def _feed(self, held: Held) -> None:
        """Bring a claimed task's references and make it resident."""
        request = held.claim.request
        try:
            tenant_id = held.claim.task.tenant_id
            images = await bring(
                self._doors.fetcher, request.references, tenant_id=tenant_id, decode=self._doors.decode
            )
            held.fetched_s = time.monotonic()
            if held not in self._custody:
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
            await self._ending.fail(held, error)
            return
        if not self._custody.named([held.task_id]):
            await self._evict(held)
        self._has_work.set()

    async def _hand_back(self) -> None:
        """Give unfinished tasks back to the queue at once; only those under suspicion wait for their lease to end."""
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        # Errands end before the device closes, or one would take the closed door for its task's failure.
        await self._errands.cancel()
        await self._previews.close()
        self._device.close()
        trusted = [held for held in self._custody if held.task_id not in self._doubt.suspects]
        handing_back = [self._doors.store.release(held.task_id, fence=held.fence) for held in trusted]
        released = await asyncio.gather(*handing_back, return_exceptions=True)  # one that fails holds up no other
        log.info("replica_stopped", replica=self._name, handed_back=released.count(True), held=len(self._custody))
