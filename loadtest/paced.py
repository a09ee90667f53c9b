"""A pipeline that takes a set time and makes a plain picture, for where only the order of work counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from models.request import GeneratedImage, GenerationRequest
from models.sample import Sample, ShapeKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PacedPipeline:
    """Sleeps for every step, as a GPU would work."""

    #: Seconds of one step, whoever takes it.
    step_s: float

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Make a sample per picture."""
        shape = ShapeKey(
            model=request.model, target_tokens=request.width * request.height, reference_tokens=len(images), styles=0
        )
        return samples_of(request_id, request, shape=shape)

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Wait, and count one step for each."""
        time.sleep(self.step_s)
        return [replace(sample, steps_done=sample.steps_done + 1) for sample in group]

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Paint a small grey picture for each."""
        return [GeneratedImage(seed=sample.seed, image=Image.new("RGB", (16, 16), "grey")) for sample in samples]

    def preview(self, sample: Sample) -> Image.Image | None:
        """Show nothing."""


def samples_of(request_id: str, request: GenerationRequest, *, shape: ShapeKey) -> list[Sample]:
    """Make a sample for each picture of a request, none of which has taken a step."""
    return [
        Sample(
            request_id=request_id,
            index=index,
            seed=request.seed + index,
            shape=shape,
            num_inference_steps=request.num_inference_steps,
        )
        for index in range(request.num_images)
    ]
