"""A replica: one device, one engine, and the loops that keep it fed.

    claim ──► fetch references ──► admit ──► step … step ──► encode ──► put ──► finish

Nobody pushes work at a replica: it claims what fits beside what it runs. One thread drives the engine;
fetching, decoding, encoding and placing run beside it, so they never hold up a step. What a replica has
claimed and does not finish, for whatever reason, goes back to the queue when its lease ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from deployments.delivery.encode import encode
from deployments.device_thread import DeviceThread
from deployments.errors import EngineFailed, ReferenceUnusable, TaskFault
from deployments.outbound.decoding import decode
from deployments.outbound.refused import ReferenceRefused
from deployments.rounds import forever
from deployments.tasks.task import Beat, Claim, Fault, Output, Success
from models.engine import Engine, StepReport
from models.request import GeneratedImage, Reference, UnusableReference

if TYPE_CHECKING:
    from PIL import Image

    from deployments.delivery.sink import Sink
    from deployments.outbound.references import ReferenceFetcher
    from deployments.tasks.signals import StoreSignal
    from deployments.tasks.store import TaskStore

log = structlog.get_logger()

#: Seconds after which a claim is tried again without a signal.
POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a replica takes on, and for how long."""

    #: Tasks it holds at once: one that steps, the others being fetched, waiting or delivered.
    capacity: int
    #: How long a claim lasts without a sign of life, in seconds.
    lease_s: float

    @property
    def beat_s(self) -> float:
        """Seconds between signs of life: three may be lost before the lease is."""
        return self.lease_s / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The outside things a replica works through."""

    #: Where tasks are claimed and finished.
    store: TaskStore
    #: Says when the store has changed.
    signal: StoreSignal
    #: Brings the bytes of references.
    fetcher: ReferenceFetcher
    #: Take the pictures, by kind.
    sinks: Mapping[str, Sink]


@dataclass(slots=True, kw_only=True)
class _Held:
    """A claim this replica works on."""

    claim: Claim
    since_s: float
    steps_done: int = 0

    @property
    def spent_ms(self) -> int:
        return round((time.monotonic() - self.since_s) * 1000)


class Replica:
    """Claims tasks of its engine's models, steps them, and delivers their pictures."""

    def __init__(self, name: str, *, engine: Engine, doors: Doors, limits: Limits) -> None:
        """Take a loaded engine and the doors to work through; ``name`` is written into every claim."""
        self._name = name
        self._engine = engine
        self._doors = doors
        self._limits = limits
        self._device = DeviceThread()
        self._held: dict[str, _Held] = {}
        self._claiming: asyncio.Task[int] | None = None
        self._errands: set[asyncio.Task[None]] = set()
        self._has_room = asyncio.Event()
        self._has_work = asyncio.Event()
        self._has_room.set()

    def __repr__(self) -> str:
        """Say how full it is."""
        return f"<Replica {self._name} [{len(self._held)} of {self._limits.capacity} tasks]>"

    async def run(self) -> None:
        """Claim, step and beat until cancelled; then hand back what is unfinished."""
        try:
            async with asyncio.TaskGroup() as loops:
                for once in (self._claim_once, self._step_once, self._beat_once):
                    loops.create_task(forever(once))
        finally:
            await self._hand_back()

    async def _claim_once(self) -> None:
        """Claim what there is room for; when there is nothing to claim, wait until there may be."""
        await self._has_room.wait()
        seen = self._doors.signal.mark()
        # Shielded: a claim that is committed must be held, or stopping here would leave it to the end of its lease.
        self._claiming = asyncio.create_task(self._claim())
        if not await asyncio.shield(self._claiming):
            await self._doors.signal.wait(seen, timeout_s=POLL_S)

    async def _claim(self) -> int:
        claims = await self._doors.store.claim(
            models=self._engine.models,
            limit=self._limits.capacity - len(self._held),
            replica_id=self._name,
            lease_s=self._limits.lease_s,
        )
        for claim in claims:
            self._hold(claim)
        return len(claims)

    async def _step_once(self) -> None:
        """Step the engine until it is idle, and send on what finishes on the way."""
        await self._has_work.wait()
        self._has_work.clear()  # before stepping, so that an admission meanwhile sets it again
        while not self._engine.is_idle:
            self._send_on(await self._device.call(self._engine.step))

    async def _beat_once(self) -> None:
        """Renew the leases while the device moves; let go of what is no longer ours."""
        await asyncio.sleep(self._limits.beat_s)
        if not self._held or not self._device.has_moved():
            return
        beats = [
            Beat(task_id=task_id, fence=held.claim.task.fence, steps_done=held.steps_done)
            for task_id, held in self._held.items()
        ]
        ours = await self._doors.store.beat(beats, lease_s=self._limits.lease_s)
        for beat in beats:
            if beat.task_id not in ours:
                await self._let_go(beat.task_id)

    def _hold(self, claim: Claim) -> None:
        task = claim.task
        waited_s = (task.started_at or task.created_at) - task.created_at
        log.info("task_claimed", task_id=task.id, attempt=task.attempt, waited_s=waited_s.total_seconds())
        self._held[task.id] = _Held(claim=claim, since_s=time.monotonic())
        self._note_room()
        self._run_errand(task.id, self._feed(claim))

    def _drop(self, task_id: str) -> None:
        self._held.pop(task_id, None)
        self._note_room()

    def _note_room(self) -> None:
        if len(self._held) < self._limits.capacity:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _let_go(self, task_id: str) -> None:
        """Stop working on a task that was cancelled or claimed by another replica."""
        log.warning("task_lost", task_id=task_id)
        self._drop(task_id)
        await self._device.call(self._engine.evict, task_id)

    def _send_on(self, report: StepReport) -> None:
        for task_id, steps_done in report.progress.items():
            if task_id in self._held:
                self._held[task_id].steps_done = steps_done
        for task_id, error in report.failed.items():
            self._run_errand(task_id, self._fail(task_id, error))
        for task_id, images in report.finished.items():
            self._run_errand(task_id, self._deliver(task_id, images))

    def _run_errand(self, task_id: str, errand: Coroutine[Any, Any, None]) -> None:
        """Run what one task needs beside the loops; what it raises touches that task alone."""
        running = asyncio.create_task(self._guard(task_id, errand))
        self._errands.add(running)
        running.add_done_callback(self._errands.discard)

    async def _guard(self, task_id: str, errand: Coroutine[Any, Any, None]) -> None:
        try:
            await errand
        except Exception:  # the store or a sink is in trouble: the lease ends by itself, and the task is tried again
            log.exception("errand_failed", task_id=task_id)
            self._drop(task_id)

    async def _feed(self, claim: Claim) -> None:
        """Bring a claimed task's references and make it resident."""
        try:
            images = await self._bring(claim.request.references)
            await self._device.call(self._engine.admit, claim.task.id, claim.request, images)
        except (ReferenceUnusable, UnusableReference) as error:
            await self._fail(claim.task.id, ReferenceUnusable(str(error)))
            return
        except Exception as error:  # noqa: BLE001 -- whatever a model raises is this task's failure, not the replica's
            await self._fail(claim.task.id, error)
            return
        if claim.task.id not in self._held:
            await self._device.call(self._engine.evict, claim.task.id)
        self._has_work.set()

    async def _bring(self, references: Sequence[Reference]) -> list[Image.Image]:
        bringing = [self._bring_one(position, reference) for position, reference in enumerate(references, start=1)]
        return await asyncio.gather(*bringing)

    async def _bring_one(self, position: int, reference: Reference) -> Image.Image:
        try:
            content = await self._doors.fetcher.fetch(reference.source)
            return await asyncio.to_thread(decode, content)
        except ReferenceRefused as error:
            raise ReferenceUnusable(f"reference {position} {error.message}") from error

    async def _deliver(self, task_id: str, images: Sequence[GeneratedImage]) -> None:
        """Place a finished task's pictures, then finish it: bytes first, so that a success always has them."""
        held = self._held.get(task_id)
        if held is None:
            return
        outputs = [await self._put(held.claim, index, image) for index, image in enumerate(images)]
        success = Success(outputs=tuple(outputs), inference_ms=held.spent_ms)
        is_ours = await self._doors.store.succeed(task_id, fence=held.claim.task.fence, success=success)
        log.info("task_succeeded" if is_ours else "task_lost", task_id=task_id, inference_ms=held.spent_ms)
        self._drop(task_id)

    async def _put(self, claim: Claim, index: int, image: GeneratedImage) -> Output:
        encoded = await asyncio.to_thread(encode, image, claim.request.output_format)
        sink = claim.task.sink
        name = f"{claim.task.id}-{claim.task.attempt}-{index}"
        return Output(
            sink=sink,
            value=await self._doors.sinks[sink].put(name, encoded),
            content_type=encoded.content_type,
            size_bytes=len(encoded.content),
            sha256=hashlib.sha256(encoded.content).hexdigest(),
            seed=image.seed,
        )

    async def _fail(self, task_id: str, error: Exception) -> None:
        held = self._held.get(task_id)
        if held is None:
            return
        fault = error if isinstance(error, TaskFault) else EngineFailed()
        log.warning("task_failed", task_id=task_id, kind=fault.kind, error=repr(error))
        await self._doors.store.fail(
            task_id, fence=held.claim.task.fence, fault=Fault(kind=fault.kind, message=fault.message)
        )
        self._drop(task_id)

    async def _hand_back(self) -> None:
        """Give every unfinished task back to the queue at once, without waiting for its lease to end."""
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        # Errands end before the device closes, or one would take the closed door for its task's failure.
        errands = list(self._errands)
        for errand in errands:
            errand.cancel()
        await asyncio.gather(*errands, return_exceptions=True)
        self._device.close()
        for held in self._held.values():
            await self._doors.store.release(held.claim.task.id, fence=held.claim.task.fence)
        log.info("replica_stopped", replica=self._name, handed_back=len(self._held))
