"""The engine: samples resident on one device, advanced one denoising step at a time.

    admit ──► (parked) ──► resident ──► step, step, step … ──► denoised ──► decoded, one a turn ──► reported as finished

It imports no torch: whatever is heavy happens behind the Pipeline protocol. It is driven by one thread; others may ask
whether it is idle, what it works for and how long that usually takes, and learn all else from what its calls return.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.cost import CostTable, cost_table, resident_bytes
from models.pace import OwnPace, Pace
from models.pipeline import DeviceBroken, OutOfMemory, Pipeline
from models.policy import Accounts, choose_group
from models.report import Content, Preview, StepReport, StepTime
from models.request import GenerationRequest
from models.resident import Resident, Stage, Standing, longer
from models.sample import Sample, ShapeKey
from models.second_try import emptied, try_twice
from models.sharing import Sharing
from models.trial import check_device

if TYPE_CHECKING:
    from PIL import Image

_USUAL = Standing()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parked:
    """A request for which there is no memory yet."""

    request: GenerationRequest
    images: Sequence[Image.Image]
    standing: Standing
    admitted_s: float


class Engine:
    """Holds prepared samples and advances them group by group."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        *,
        sharing: Sharing | None = None,
        max_bytes: int | None = None,
        costs: CostTable | None = None,
        shared: Callable[[ShapeKey], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the pipelines by model name.

        Args:
            pipelines: what this device can run.
            sharing: how many samples share one transformer call. None: each steps alone, which makes every picture
                independent of its neighbours to the last bit, because matrix kernels may round differently by batch
                size.
            max_bytes: of the device's memory that resident requests may take; what comes beyond it is prepared later.
                One request alone is never too large for it. None sets no bound.
            costs: what steps of this kind of device take; None: the usual table.
            shared: which part of a step is shared, by which strangers share only where it pays; see ``choose_group``.
            clock: tells seconds that never go back.
        """
        self._pipelines = pipelines
        self._sharing = sharing or Sharing(1)
        self._max_bytes = max_bytes
        self._shared = shared
        self._clock = clock
        self._costs = costs or cost_table()
        self._accounts = Accounts()
        self._pace = Pace(self._costs)
        self._stepped_s: float | None = None
        #: Seconds that the step under way usually takes, until what follows it in the same call is done as well; 0
        #: between calls, and where nobody knows.
        self.usual_s = 0.0
        #: Requests that the call under way works for, or those that the last one worked for.
        self.at_work: frozenset[str] = frozenset()
        self._parked: dict[str, _Parked] = {}
        self._resident: dict[str, Resident] = {}
        self._put_aside: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """Say how full it is."""
        samples = sum(len(held.samples) for held in self._resident.values())
        parked = f" | {len(self._parked)} parked" if self._parked else ""
        return f"<Engine [{len(self._resident)} requests | {samples} samples to step{parked}]>"

    @property
    def models(self) -> frozenset[str]:
        """Name the models it can run."""
        return frozenset(self._pipelines)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to step and nothing to decode."""
        return not self._resident and not self._parked

    @property
    def resident_bytes(self) -> int:
        """Estimate what the resident requests take of the device's memory."""
        return sum(held.size_bytes for held in self._resident.values())

    @property
    def resident_samples(self) -> int:
        """Count the samples that have steps to take."""
        return sum(len(held.samples) for held in self._resident.values())

    def admit(
        self,
        request_id: str,
        request: GenerationRequest,
        images: Sequence[Image.Image],
        *,
        standing: Standing = _USUAL,
    ) -> None:
        """Prepare a request and make its samples resident, at once or as soon as there is memory for it.

        Args:
            request_id: by which it is spoken of.
            request: the wish.
            images: the decoded RGB references.
            standing: how it is treated among others.

        Raises:
            UnusableReference: when a picture cannot serve as a reference. Where the request is prepared later, the
                error is reported by that step.
            DeviceBroken: when the device is lost, or fails at a made-up picture as well; names who is under suspicion.
        """
        parked = _Parked(request=request, images=images, standing=standing, admitted_s=self._clock())
        if self._parked or not self._has_memory_for(request):
            self._parked[request_id] = parked
            return
        try:
            self._prepare(request_id, parked)
        except DeviceBroken as error:
            error.suspects = self.at_work
            raise

    def evict(self, request_id: str) -> Content:
        """Forget a request, resident or not; no step of it starts afterwards. Return what is left."""
        self._forget(request_id)
        return self._content

    def step(self, *, first: Collection[str] = ()) -> StepReport:
        """Advance one group by one denoising step, then decode one picture at most; report what came of it.

        So whoever waits for a step never waits for more than one decoding before it.

        Args:
            first: requests that step before all others, whatever their rank, e.g. because they are about to end.

        Raises:
            DeviceBroken: as ``admit``; nothing that is resident can be stepped any more.
        """
        self.at_work = frozenset()
        try:
            return self._stepped(first)
        except DeviceBroken as error:
            error.suspects = self.at_work
            raise
        finally:
            self.usual_s = 0.0

    def _stepped(self, first: Collection[str]) -> StepReport:
        self._put_aside = frozenset(name for name, held in self._resident.items() if held.wants_room)
        failed = self._prepare_parked()
        group = self._choose(first)
        stepped, step_failed, timed = self._step_timed(group) if group else ([], {}, None)
        self._note(stepped)
        failed |= step_failed
        decode_failed, decode_s = self._decode_one(first, failed)
        report = self._retire(stepped, failed | decode_failed)
        if not self.resident_samples:  # nobody waits for a step, so there is no gap before the next one
            self._stepped_s = None
        return replace(report, timed=timed, decode_s=decode_s, content=self._content)

    @property
    def _content(self) -> Content:
        return Content(samples=self.resident_samples, size_bytes=self.resident_bytes)

    def _forget(self, request_id: str) -> None:
        self._parked.pop(request_id, None)
        self._resident.pop(request_id, None)

    def _has_memory_for(self, request: GenerationRequest) -> bool:
        if any(held.wants_room for held in self._resident.values()):
            return False
        if self._max_bytes is None or not self._resident:
            return True
        return self.resident_bytes + resident_bytes(request) <= self._max_bytes

    def _prepare(self, request_id: str, parked: _Parked) -> None:
        request, standing = parked.request, parked.standing
        self.at_work, began_s = frozenset({request_id}), self._clock()
        samples = self._samples(request_id, parked)
        arrived_s = parked.admitted_s - standing.waited_s
        table_s, pace = self._costs.request(request) / 1e3, self._pace.factor
        held = Resident(
            standing=standing,
            asked_s=arrived_s,
            counts_from_s=self._accounts.arrive(standing.tenant, arrived_s=arrived_s, work_s=table_s * pace),
            table_s=table_s,
            pace=OwnPace(),
            size_bytes=resident_bytes(request),
            samples={sample.index: sample for sample in samples},
            stretches=longer({}, Stage.PREPARING, began_s, self._clock()),
        )
        held.judge(self._costs, pace=pace)
        self._resident[request_id] = held

    def _samples(self, request_id: str, parked: _Parked) -> list[Sample]:
        pipeline = self._pipelines[parked.request.model]
        try:
            return try_twice(lambda: pipeline.prepare(request_id, parked.request, parked.images))
        except DeviceBroken:
            raise
        except Exception as error:
            self._check_device(parked.request.model, [error])
            raise

    def _prepare_parked(self) -> dict[str, Exception]:
        """Prepare what memory was found for, the lowest rank first; return what cannot be prepared."""
        failed: dict[str, Exception] = {}
        while self._parked:
            request_id = min(self._parked, key=lambda each: self._parked[each].standing.rank)
            if not self._has_memory_for(self._parked[request_id].request):
                break
            try:
                self._prepare(request_id, self._parked.pop(request_id))
            except DeviceBroken:
                raise
            except Exception as error:  # noqa: BLE001 -- whatever a model raises is this request's alone
                failed[request_id] = emptied(error)
        return failed

    def _choose(self, first: Collection[str]) -> list[Sample]:
        waiting = [held.candidate for held in self._ready().values() if held.candidate]
        if not waiting:
            return []
        most, now_s = self._sharing.most, self._clock()
        group = choose_group(waiting, max_group=most, now_s=now_s, first=first, shared=self._shared)
        group = group[: self._sharing.group_of(len(group), group[0][0].shape)]
        return [self._resident[one.request_id].samples[index] for one, index in group]

    def _ready(self) -> Mapping[str, Resident]:
        """Return what may be worked for: what wants room only when nothing else is left."""
        return {name: held for name, held in self._resident.items() if not held.wants_room} or self._resident

    def _step_timed(self, group: Sequence[Sample]) -> tuple[list[Sample], dict[str, Exception], StepTime]:
        """Step a group and learn from it how fast this device is."""
        shape, count = group[0].shape, len(group)
        self.at_work = frozenset(sample.request_id for sample in group)
        self.usual_s = self._pace.usual_s(shape, count=count)
        started_s = self._clock()
        stepped, failed = self._step_halving(group)
        ended_s = self._clock()
        self._check_device(shape.model, failed.values())
        is_whole = len(stepped) == count
        times = self._pace.learn(shape, count=count, took_s=ended_s - started_s) if is_whole else None
        for request_id, samples in Counter(sample.request_id for sample in group).items():
            self._resident[request_id].pay(started_s, ended_s, share=samples / count, times=times)
        gap_s = None if self._stepped_s is None else started_s - self._stepped_s
        self._stepped_s = ended_s
        return stepped, failed, StepTime(shape=shape, group=count, seconds=ended_s - started_s, gap_s=gap_s)

    def _step_halving(self, group: Sequence[Sample]) -> tuple[list[Sample], dict[str, Exception]]:
        """Step a group; when that fails, step its halves, so that only the sample at fault is lost."""
        shape = group[0].shape
        pipeline = self._pipelines[shape.model]
        try:
            stepped = pipeline.step(group) if len(group) > 1 else try_twice(lambda: pipeline.step(group))
        except DeviceBroken:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever a model raises must not reach a neighbour
            if isinstance(error, OutOfMemory):
                self._sharing.halve(shape, group=len(group))
            if len(group) == 1:
                return [], self._failed(group[0].request_id, error)
        else:
            self._sharing.succeed(shape, group=len(group))
            return stepped, {}
        middle = len(group) // 2
        first, first_failed = self._step_halving(group[:middle])
        second, second_failed = self._step_halving(group[middle:])
        return first + second, first_failed | second_failed

    def _failed(self, request_id: str, error: Exception) -> dict[str, Exception]:
        """Return a request with why it failed; nothing where others may hold the memory that it needs, and it waits."""
        if isinstance(error, OutOfMemory) and request_id not in self._put_aside and len(self._resident) > 1:
            self._resident[request_id].wants_room = True
            return {}
        return {request_id: emptied(error)}

    def _check_device(self, model: str, failures: Iterable[Exception]) -> None:
        is_alone = self._resident.keys() <= self.at_work
        check_device(model, self._pipelines[model], failures=failures, is_alone=is_alone)

    def _note(self, stepped: Sequence[Sample]) -> None:
        for sample in stepped:
            self._resident[sample.request_id].take(sample)
        for request_id in {sample.request_id for sample in stepped}:
            self._resident[request_id].judge(self._costs, pace=self._pace.factor)

    def _decode_one(self, first: Collection[str], failed: Collection[str]) -> tuple[dict[str, Exception], float | None]:
        """Turn one denoised sample into a picture, of the request whose turn it is.

        Returns:
            The request, when that failed; and the seconds that it took, when it did not.
        """
        waiting = [held for held in self._ready().items() if held[1].denoised and held[0] not in failed]
        if not waiting:
            return {}, None
        request_id, held = min(waiting, key=lambda one: (one[0] not in first, one[1].order))
        sample = held.denoised[min(held.denoised)]
        self.at_work = frozenset({request_id})
        began_s, pipeline = self._clock(), self._pipelines[sample.shape.model]
        try:
            [held.images[sample.index]] = try_twice(lambda: pipeline.decode([sample]))
        except DeviceBroken:
            raise
        except Exception as error:  # noqa: BLE001 -- as in _step_halving
            decode_failed = self._failed(request_id, error)
            self._check_device(sample.shape.model, decode_failed.values())
            return decode_failed, None
        ended_s = self._clock()
        del held.denoised[sample.index]
        held.stretches = longer(held.stretches, Stage.DECODING, began_s, ended_s)
        return {}, ended_s - began_s

    def _retire(self, stepped: Sequence[Sample], failed: Mapping[str, Exception]) -> StepReport:
        """Let go of the requests that ended and report what became of all that moved."""
        moved = dict.fromkeys(sample.request_id for sample in stepped)
        progress = {request_id: self._resident[request_id].steps_done for request_id in moved}
        previews = self._previews(stepped)
        finished = {
            request_id: [held.images[index] for index in sorted(held.images)]
            for request_id, held in self._resident.items()
            if held.is_over and request_id not in failed
        }
        over = [request_id for request_id in (*failed, *finished) if request_id in self._resident]
        stretches = {request_id: self._resident[request_id].stretches for request_id in over}
        for request_id in (*failed, *finished):
            self._forget(request_id)
        return StepReport(progress=progress, previews=previews, finished=finished, failed=failed, stretches=stretches)

    def _previews(self, stepped: Sequence[Sample]) -> Mapping[str, Sequence[Preview]]:
        previews: dict[str, list[Preview]] = {}
        for sample in stepped:
            every = self._resident[sample.request_id].standing.preview_every
            if not every or sample.steps_done % every or sample.is_denoised:
                continue
            with suppress(Exception):  # what nobody can see on the way is no reason to lose the picture
                image = self._pipelines[sample.shape.model].preview(sample)
                seen = [Preview(index=sample.index, steps_done=sample.steps_done, image=image)] if image else []
                previews.setdefault(sample.request_id, []).extend(seen)
        return {request_id: seen for request_id, seen in previews.items() if seen}
