"""The fake engine: real Pipeline protocol, no model. Its pictures are a pure function of seed and prompt.

A prompt that holds ``break the step`` raises, and one that holds ``kill the process`` does what it says.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from acceptance.chaos.journal import Journal
from PIL import Image

from deployments.delivery.encode import encode
from models.engine import Engine
from models.request import GeneratedImage, GenerationRequest, ImageFormat
from models.sample import Sample, ShapeKey

#: Words in a prompt that make a step raise, and that kill the replica.
BREAKS, KILLS = "break the step", "kill the process"
#: Pixels a side, whatever size was asked for: bytes are what is checked here.
SIDE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintSample(Sample):
    """A sample that knows its prompt."""

    #: Prompt of its request.
    prompt: str


class PaintPipeline:
    """Steps by waiting."""

    def __init__(self, *, step_s: float, journal: Journal | None = None) -> None:
        """Take how long a step lasts in seconds, and where to note a death."""
        self._step_s = step_s
        self._journal = journal

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Make a sample per picture."""
        shape = ShapeKey(model=request.model, target_tokens=1, reference_tokens=len(images), styles=0)
        return [
            PaintSample(
                request_id=request_id,
                index=index,
                seed=request.seed + index,
                shape=shape,
                num_inference_steps=request.num_inference_steps,
                prompt=request.prompt,
            )
            for index in range(request.num_images)
        ]

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Count one step for each, in the time it takes."""
        time.sleep(self._step_s)
        for sample in group:
            self._obey(sample)
        return [replace(sample, steps_done=sample.steps_done + 1) for sample in group]

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Paint each."""
        return [paint(sample) for sample in samples]

    def preview(self, sample: Sample) -> Image.Image | None:
        """Show nothing."""

    def _obey(self, sample: Sample) -> None:
        assert isinstance(sample, PaintSample)
        if BREAKS in sample.prompt:
            raise RuntimeError(BREAKS)
        if KILLS in sample.prompt:
            if self._journal is not None:
                self._journal.write("poisoned", task=sample.request_id)
            os.kill(os.getpid(), signal.SIGKILL)


def paint(sample: Sample) -> GeneratedImage:
    """Fill a picture with bytes drawn from seed and prompt."""
    assert isinstance(sample, PaintSample)
    pixels = hashlib.shake_256(f"{sample.seed} {sample.prompt}".encode()).digest(SIDE * SIDE * 3)
    return GeneratedImage(seed=sample.seed, image=Image.frombytes("RGB", (SIDE, SIDE), pixels))


@cache
def undisturbed(request: GenerationRequest) -> list[str]:
    """Carry a request out alone and return the SHA-256 of every picture's file, hex."""
    engine = Engine({request.model: PaintPipeline(step_s=0)})
    engine.admit("alone", request, [])
    while not engine.is_idle:
        finished = engine.step().finished
    return [_sha256(image, request.output_format) for image in finished["alone"]]


def _sha256(image: GeneratedImage, output_format: ImageFormat) -> str:
    return hashlib.sha256(encode(image, output_format).content).hexdigest()
