"""The engine: samples resident on one device, advanced one denoising step at a time.

    admit ──► resident ──► step, step, step … ──► decoded ──► reported as finished

It imports no torch: whatever is heavy happens behind the Pipeline protocol. It is driven by one thread.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.pipeline import Pipeline
from models.policy import choose_group
from models.request import GeneratedImage, GenerationRequest
from models.sample import Sample

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What one step brought about."""

    #: Steps taken so far over all pictures, for every request that moved.
    progress: Mapping[str, int] = field(default_factory=dict)
    #: Pictures of every request that is complete, in the order of its seeds.
    finished: Mapping[str, Sequence[GeneratedImage]] = field(default_factory=dict)
    #: What went wrong with every request that failed.
    failed: Mapping[str, Exception] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Work:
    """A resident request: what is still being denoised, and what has come of it."""

    samples: dict[int, Sample]
    rank: int
    images: dict[int, GeneratedImage] = field(default_factory=dict)
    steps_done: int = 0


class Engine:
    """Holds prepared samples and advances them group by group."""

    def __init__(self, pipelines: Mapping[str, Pipeline], *, max_group: int = 1) -> None:
        """Take the pipelines by model name.

        Args:
            pipelines: what this device can run.
            max_group: how many samples share one transformer call. 1 makes every picture independent of its
                neighbours to the last bit, because matrix kernels may round differently by batch size.
        """
        self._pipelines = pipelines
        self._max_group = max_group
        self._resident: dict[str, _Work] = {}

    def __repr__(self) -> str:
        """Say how full it is."""
        samples = sum(len(work.samples) for work in self._resident.values())
        return f"<Engine [{len(self._resident)} requests | {samples} samples to step]>"

    @property
    def models(self) -> frozenset[str]:
        """Name the models it can run."""
        return frozenset(self._pipelines)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to step."""
        return not self._resident

    def admit(
        self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image], *, rank: int = 0
    ) -> None:
        """Prepare a request and make its samples resident.

        Args:
            request_id: by which it is spoken of.
            request: the wish.
            images: the decoded RGB references.
            rank: what has a low rank steps before what has a higher one, from the next step on.

        Raises:
            UnusableReference: when a picture cannot serve as a reference.
        """
        samples = self._pipelines[request.model].prepare(request_id, request, images)
        self._resident[request_id] = _Work(samples={sample.index: sample for sample in samples}, rank=rank)

    def evict(self, request_id: str) -> None:
        """Forget a request, resident or not; no step of it starts afterwards."""
        self._resident.pop(request_id, None)

    def step(self, *, first: Collection[str] = ()) -> StepReport:
        """Advance one group of samples by one denoising step; report progress and finished pictures.

        Args:
            first: requests that step before all others, whatever their rank, e.g. because they are about to end.
        """
        if self.is_idle:
            return StepReport()
        group = choose_group(self._samples(first), max_group=self._max_group)
        stepped, failed = self._step_halving(group)
        self._note(stepped)
        failed |= self._decode(stepped)
        return self._retire(stepped, failed)

    def _samples(self, first: Collection[str]) -> list[Sample]:
        # Of one rank, the longest resident first.
        in_order = sorted(self._resident.items(), key=lambda held: (held[0] not in first, held[1].rank))
        return [sample for _, work in in_order for sample in work.samples.values()]

    def _step_halving(self, group: Sequence[Sample]) -> tuple[list[Sample], dict[str, Exception]]:
        """Step a group; when that fails, step its halves, so that only the sample at fault is lost."""
        try:
            return self._pipelines[group[0].shape.model].step(group), {}
        except Exception as error:  # noqa: BLE001 -- whatever a model raises must not reach a neighbour
            if len(group) == 1:
                return [], {group[0].request_id: error}
        middle = len(group) // 2
        first, first_failed = self._step_halving(group[:middle])
        second, second_failed = self._step_halving(group[middle:])
        return first + second, first_failed | second_failed

    def _note(self, stepped: Sequence[Sample]) -> None:
        for sample in stepped:
            work = self._resident[sample.request_id]
            work.samples[sample.index] = sample
            work.steps_done += 1

    def _decode(self, stepped: Sequence[Sample]) -> dict[str, Exception]:
        """Turn what is denoised into pictures; return the requests for which that failed."""
        failed: dict[str, Exception] = {}
        for sample in filter(lambda sample: sample.is_denoised, stepped):
            work = self._resident[sample.request_id]
            del work.samples[sample.index]
            try:
                [work.images[sample.index]] = self._pipelines[sample.shape.model].decode([sample])
            except Exception as error:  # noqa: BLE001 -- as in _step_halving
                failed[sample.request_id] = error
        return failed

    def _retire(self, stepped: Sequence[Sample], failed: Mapping[str, Exception]) -> StepReport:
        """Let go of the requests that ended and report what became of all that moved."""
        moved = {sample.request_id: self._resident[sample.request_id] for sample in stepped}
        finished = {
            request_id: [work.images[index] for index in sorted(work.images)]
            for request_id, work in moved.items()
            if not work.samples and request_id not in failed
        }
        for request_id in (*failed, *finished):
            self.evict(request_id)
        progress = {request_id: work.steps_done for request_id, work in moved.items()}
        return StepReport(progress=progress, finished=finished, failed=failed)
