"""A small real pipeline for tests: its pictures are one colour, chosen by the seed; its steps cost nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from models.request import GeneratedImage, GenerationRequest
from models.sample import Sample, ShapeKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SolidSample(Sample):
    """A sample that knows the size it will have."""

    #: Width and height in pixels.
    size: tuple[int, int]
    #: Prompt of its request.
    prompt: str


class SolidPipeline:
    """Steps by counting.

    A prompt that holds ``break at step N`` raises when step N would be taken, and one with ``break at prepare``,
    ``break at preview`` or ``break at decode`` when that is done.
    While ``gate`` is cleared, steps wait for it; ``waiting`` is set once one does.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.groups: list[list[tuple[str, int]]] = []

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Make a sample per picture; references only make the shape longer."""
        if "break at prepare" in request.prompt:
            raise RuntimeError(request.prompt)
        shape = ShapeKey(
            model=request.model, target_tokens=request.width * request.height, reference_tokens=len(images), styles=0
        )
        return [
            SolidSample(
                request_id=request_id,
                index=index,
                seed=request.seed + index,
                shape=shape,
                num_inference_steps=request.num_inference_steps,
                size=(request.width, request.height),
                prompt=request.prompt,
            )
            for index in range(request.num_images)
        ]

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Count one step for each."""
        if not self.gate.is_set():
            self.waiting.set()
        assert self.gate.wait(timeout=30)
        for sample in group:
            assert isinstance(sample, SolidSample)
            if f"break at step {sample.steps_done}" in sample.prompt:
                raise RuntimeError(sample.prompt)
        self.groups.append([(sample.request_id, sample.index) for sample in group])
        return [replace(sample, steps_done=sample.steps_done + 1) for sample in group]

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Paint each in the colour of its seed."""
        return [self._paint(sample) for sample in samples]

    def preview(self, sample: Sample) -> Image.Image | None:
        """Show how many steps were taken, as a shade of red; a prompt that says ``break at preview`` raises."""
        assert isinstance(sample, SolidSample)
        if "break at preview" in sample.prompt:
            raise RuntimeError(sample.prompt)
        return Image.new("RGB", (2, 2), (sample.steps_done, 0, 0))

    def difference(self, one: Sample, other: Sample) -> float:
        """Count the steps by which one is ahead."""
        return float(abs(one.steps_done - other.steps_done))

    def paint(self, seed: int, *, size: tuple[int, int]) -> GeneratedImage:
        """Paint a picture of some width and height in the colour of its seed."""
        colour = (seed % 256, seed // 256 % 256, 99)
        return GeneratedImage(seed=seed, image=Image.new("RGB", size, colour))

    def _paint(self, sample: Sample) -> GeneratedImage:
        assert isinstance(sample, SolidSample)
        if "break at decode" in sample.prompt:
            raise RuntimeError(sample.prompt)
        return self.paint(sample.seed, size=sample.size)
