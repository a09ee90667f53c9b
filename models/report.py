"""What a call of the engine tells of: the step, how long it took, and what came of it; values alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.request import GeneratedImage
from models.resident import Stage, Stretch
from models.sample import ShapeKey

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a picture looks like on its way."""

    #: Which picture of its request, from 0.
    index: int
    #: Steps that this picture has taken.
    steps_done: int
    #: RGB, a pixel for every latent pixel.
    image: Image.Image


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """How long a step took."""

    #: What stepped.
    shape: ShapeKey
    #: Samples that stepped together.
    group: int
    #: Seconds of the step itself.
    seconds: float
    #: Seconds since the step before, if samples waited for this one all the while.
    gap_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the engine holds, as it was between two calls of it."""

    #: Samples that have steps to take.
    samples: int = 0
    #: What the resident requests are estimated to take of the device's memory.
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What one step brought about."""

    #: Steps taken so far over all pictures, for every request that moved.
    progress: Mapping[str, int] = field(default_factory=dict)
    #: Previews of every request that asked for them and moved far enough.
    previews: Mapping[str, Sequence[Preview]] = field(default_factory=dict)
    #: Pictures of every request that is complete, in the order of its seeds.
    finished: Mapping[str, Sequence[GeneratedImage]] = field(default_factory=dict)
    #: What went wrong with every request that failed.
    failed: Mapping[str, Exception] = field(default_factory=dict)
    #: What the device did for every request that is complete or failed, and when.
    stretches: Mapping[str, Mapping[Stage, Stretch]] = field(default_factory=dict)
    #: How long the step took; None where there was none.
    timed: StepTime | None = None
    #: Seconds of the decoding after it; None where there was none.
    decode_s: float | None = None
    #: What the engine holds after it.
    content: Content = Content()
