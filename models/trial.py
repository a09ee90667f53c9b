"""Whether a device still computes: asked by a small made-up picture, after a request has failed on it.

Some devices say that they are lost and some only fail at whatever they are asked; without this, one of those would
take task after task and blame each for it. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable

from models.catalog import MIN_SIDE
from models.pipeline import DeviceBroken, OutOfMemory, Pipeline
from models.request import GenerationRequest, UnusableReference


def check_device(model: str, pipeline: Pipeline, *, failures: Iterable[Exception], is_alone: bool) -> None:
    """Draw the smallest picture there is, in one step, unless every failure explains itself.

    Args:
        model: what failed.
        pipeline: its pipeline.
        failures: what was raised, if anything was.
        is_alone: whether nothing else is resident; then no neighbour can hold the memory that was missing.

    Raises:
        DeviceBroken: when that fails too, so that what failed before it is no request's fault.
    """
    # What says nothing of the device: the caller's mistake, and memory that others hold.
    explained = UnusableReference if is_alone else (UnusableReference, OutOfMemory)
    if all(isinstance(failure, explained) for failure in failures):
        return
    try:
        pipeline.decode(pipeline.step(pipeline.prepare("trial", _request(model), [])))
    except DeviceBroken:
        raise
    except OutOfMemory as error:
        if is_alone:
            raise DeviceBroken("it has no memory for the smallest picture, and nothing is resident") from error
    except Exception as error:
        raise DeviceBroken(f"a made-up picture fails as well: {error!r}") from error


def _request(model: str) -> GenerationRequest:
    return GenerationRequest(
        model=model,
        prompt="a trial",
        references=(),
        width=MIN_SIDE,
        height=MIN_SIDE,
        num_inference_steps=1,
        guidance_scale=4.0,
        seed=0,
    )
