"""Whether a device still computes: asked by a small made-up picture, after a request has failed on it.

Some devices say that they are lost and some only fail at whatever they are asked; without this, one of those would
take task after task and blame each for it. Imports no torch.
"""

from __future__ import annotations

from models.catalog import MIN_SIDE
from models.pipeline import DeviceBroken, OutOfMemory, Pipeline
from models.request import GenerationRequest, UnusableReference

#: What says nothing of the device: the caller's mistake, and memory that others may hold.
EXPLAINED = (UnusableReference, OutOfMemory)


def check_device(model: str, pipeline: Pipeline, *, failure: Exception) -> None:
    """Draw the smallest picture there is, in one step, unless a failure explains itself.

    Raises:
        DeviceBroken: when that fails too, so that what failed before it is no request's fault.
    """
    if isinstance(failure, EXPLAINED):
        return
    try:
        pipeline.decode(pipeline.step(pipeline.prepare("trial", _request(model), [])))
    except DeviceBroken:
        raise
    except OutOfMemory:
        return
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
