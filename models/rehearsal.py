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

from models.catalog import CATALOG
from models.options import UnusableChoice
from models.pipeline import ComparingPipeline, DeviceBroken, NotFinite, OutOfMemory
from models.request import GenerationRequest, Reference, Role
from models.sample import Sample, ShapeKey

#: Sides of the square pictures that are rehearsed: where a device is not full with one of them.
SIDES = (256, 512)
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


def warm_up(pipelines: Mapping[str, ComparingPipeline]) -> None:
    """Step made-up pictures alone, so that compiled blocks are compiled before a step is waited for.

    Raises:
        UnusableChoice: when the blocks cannot be compiled here.
        DeviceBroken: when the device is lost.
    """
    for name, pipeline in pipelines.items():
        for samples in _casts(name, pipeline, count=1, sides=SIDES):
            _compile(pipeline, samples)


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
            "UXO_COMPILE_BLOCKS=true cannot be used: the blocks could not be compiled; is there a C compiler,"
            f" as docs/weights.md asks for? {error}"
        ) from error


def rehearse(pipelines: Mapping[str, ComparingPipeline], *, max_group: int, sides: Sequence[int] = SIDES) -> Rehearsed:
    """Step made-up pictures together and alone.

    Args:
        pipelines: by the name of their model.
        max_group: how many share at most.
        sides: pixels of the square pictures.

    Raises:
        DeviceBroken: when the device is lost.
    """
    proven: dict[ShapeKey, int] = {}
    differences = [0.0]
    for name, pipeline in pipelines.items() if max_group > 1 else ():
        for samples in _casts(name, pipeline, count=max_group, sides=sides):
            found = list(_differences(pipeline, samples))
            differences += found
            equal = len(list(takewhile(lambda difference: difference == 0, found)))
            proven[samples[0].shape] = 2**equal
    return Rehearsed(proven=proven, largest_difference=max(differences))


def _casts(model: str, pipeline: ComparingPipeline, *, count: int, sides: Sequence[int]) -> Iterator[list[Sample]]:
    """Prepare pictures of every rehearsed shape, alike in nothing but that."""
    for side in sides:
        for references in (0, 1):
            requests = [_request(model, side, references, number) for number in range(count)]
            images = [Image.radial_gradient("L").resize((REFERENCE_SIDE, REFERENCE_SIDE)).convert("RGB")] * references
            yield [sample for each in requests for sample in pipeline.prepare("rehearsal", each, images)]


def _request(model: str, side: int, references: int, number: int) -> GenerationRequest:
    return GenerationRequest(
        model=model,
        prompt=f"picture {number} of a rehearsal",
        references=(Reference(role=_role(model), source=""),) * references,
        width=side,
        height=side,
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
