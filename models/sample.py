"""One image being denoised, and what two of them must share to step together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


# A tuple, since a policy compares thousands of them between two steps, which takes a dataclass ten times as long.
class ShapeKey(NamedTuple):
    """What must be equal for samples to share one transformer call."""

    #: Catalog name; two models are two sets of weights.
    model: str
    #: Tokens of the picture being made.
    target_tokens: int
    #: Tokens of all its references together.
    reference_tokens: int
    #: Style pictures in the text stream.
    styles: int
    #: Rows that each sample takes of a call: two where a negative prompt is told beside the prompt.
    rows: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image on its way from noise to latents; a pipeline adds its tensors in a subclass."""

    #: The request it belongs to.
    request_id: str
    #: Which picture of that request, from 0.
    index: int
    #: The seed its noise was drawn from.
    seed: int
    #: What it can step together with.
    shape: ShapeKey
    #: Steps it will take in all.
    num_inference_steps: int
    #: Steps taken so far.
    steps_done: int = 0

    @property
    def steps_left(self) -> int:
        """Return how many steps it will still take."""
        return self.num_inference_steps - self.steps_done

    @property
    def is_denoised(self) -> bool:
        """Whether only decoding is left."""
        return self.steps_done == self.num_inference_steps
