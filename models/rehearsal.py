"""Whether pictures that share a call come out as they do alone: found out on the device itself, before work comes.

Kernels are chosen by the shapes of what they multiply and not by its values, so what holds to the last bit for some
pictures of a shape holds for all: where a kernel adds in another order, some of the millions of numbers that a step
rounds would differ. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from PIL import Image

from models.catalog import CATALOG, Size
from models.options import UnusableChoice
from models.pipeline import ComparingPipeline, DeviceBroken, NotFinite, OutOfMemory
from models.request import GenerationRequest, Reference, Role
from models.sample import Sample, ShapeKey

#: Width and height of the pictures that are rehearsed: where a device is not full with one of them.
SIZES: Sequence[Size] = ((256, 256), (512, 512))
#: Pixels a side of their references.
REFERENCE_SIDE = 512
#: Steps that are compared.
STEPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What was found out."""

    #: For each shape how many share a call without a trace: a power of two, 1 where not even two do.
    proven: Mapping[ShapeKey, int]
    #: By how much latents that shared a call differ from those that did not, at most; they are of the order of 1.
    largest_difference: float


def warm_up(pipelines: Mapping[str, ComparingPipeline], *, sizes: Sequence[Size] = SIZES) -> list[ShapeKey]:
    """Step made-up pictures alone, so that blocks are compiled and kernels chosen before a step is waited for.

    Args:
        pipelines: by the name of their model.
        sizes: of the pictures, in pixels; each is stepped with no and with one reference.

    Returns:
        What was stepped.

    Raises:
        UnusableChoice: when one cannot be stepped here, for want of a compiler above all.
        DeviceBroken: when the device is lost.
    """
    warmed: list[ShapeKey] = []
    for name, pipeline in pipelines.items():
        for samples in _casts(name, pipeline, count=1, sizes=sizes):
            _compile(pipeline, samples)
            warmed.append(samples[0].shape)
    return warmed


def _compile(pipeline: ComparingPipeline, samples: Sequence[Sample]) -> None:
    try:
        pipeline.step(samples)
    except (OutOfMemory, NotFinite):
        return  # it computes, which is all that is asked here
    except DeviceBroken:
        raise
    # Whatever else comes of a step that was never taken before: compilers raise many things.
    except RuntimeError as error:
        raise UnusableChoice(
            "a made-up picture cannot be stepped; does UXO_COMPILE_BLOCKS=true find a C compiler, as docs/weights.md"
            f" asks for? {error}"
        ) from error


def rehearse(pipelines: Mapping[str, ComparingPipeline], *, max_group: int, sizes: Sequence[Size] = SIZES) -> Rehearsed:
    """Step made-up pictures together and alone.

    Args:
        pipelines: by the name of their model.
        max_group: how many share at most.
        sizes: of the pictures, in pixels.

    Raises:
        DeviceBroken: when the device is lost.
    """
    proven: dict[ShapeKey, int] = {}
    differences = [0.0]
    for name, pipeline in pipelines.items() if max_group > 1 else ():
        for samples in _casts(name, pipeline, count=max_group, sizes=sizes):
            found = list(_differences(pipeline, samples))
            differences += found
            equal = len(list(takewhile(lambda difference: difference == 0, found)))
            proven[samples[0].shape] = 2**equal
    return Rehearsed(proven=proven, largest_difference=max(differences))


def _casts(model: str, pipeline: ComparingPipeline, *, count: int, sizes: Sequence[Size]) -> Iterator[list[Sample]]:
    """Prepare pictures of every rehearsed shape, alike in nothing but that."""
    for size in sizes:
        for references in (0, 1):
            requests = [_request(model, size, references, number) for number in range(count)]
            images = [Image.radial_gradient("L").resize((REFERENCE_SIDE, REFERENCE_SIDE)).convert("RGB")] * references
            yield [sample for each in requests for sample in pipeline.prepare("rehearsal", each, images)]


def _request(model: str, size: Size, references: int, number: int) -> GenerationRequest:
    return GenerationRequest(
        model=model,
        prompt=f"picture {number} of a rehearsal",
        references=(Reference(role=_role(model), source=""),) * references,
        width=size[0],
        height=size[1],
        num_inference_steps=STEPS + number,
        guidance_scale=2.0 + number,
        seed=number,
    )


def _role(model: str) -> Role:
    """Return the role of the pictures that join a model's image stream."""
    return next(role for role in CATALOG[model].max_references if role is not Role.STYLE)


def _differences(pipeline: ComparingPipeline, samples: Sequence[Sample]) -> Iterator[float]:
    """Compare groups of two, of four and so on, as far as there are samples and memory."""
    count = 2
    while count <= len(samples):
        try:
            yield _difference(pipeline, samples[:count])
        except (OutOfMemory, NotFinite):
            return
        count *= 2


def _difference(pipeline: ComparingPipeline, group: Sequence[Sample]) -> float:
    together, alone = [*group], [*group]
    for _ in range(STEPS):
        together = pipeline.step(together)
        alone = [stepped for sample in alone for stepped in pipeline.step([sample])]
    return max(pipeline.difference(one, other) for one, other in zip(together, alone, strict=True))
