"""UNO with small random weights, and requests that it cannot step: what a bad member of a group is made of.

Encoding is done once for each wish, since it would take most of the time and nothing here depends on it; steps and
decodings are real.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from models.flux.group import FluxSample
from models.request import GenerationRequest
from models.uno import UnoPipeline

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from models.flux.components import FluxComponents
    from models.sample import Sample

#: What becomes of the latents of a request by its prompt: no numbers at all, or as many as no kernel takes.
SPOILS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"nan": lambda tokens: tokens * float("nan"), "odd": lambda tokens: tokens[..., :-1]}
)
#: Pixels a side of what is wished for: several of these share a call without a trace on the CPUs that were tried.
SIDE = 256


class Spoiled(UnoPipeline):
    """Prepares what has a prompt of ``SPOILS`` so that it cannot be stepped, and counts how many step together."""

    def __init__(self, components: FluxComponents) -> None:
        """Take the parts, and know nothing yet."""
        super().__init__(components)
        self._prepared: dict[GenerationRequest, Sequence[Sample]] = {}
        #: Calls of ``step`` by the number of samples in them.
        self.group_sizes: Counter[int] = Counter()

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Spoil what asks for it."""
        if request not in self._prepared:
            self._prepared[request] = super().prepare(request_id, request, images)
        samples = (replace(sample, request_id=request_id) for sample in self._prepared[request])
        return [_spoilt(sample, request.prompt) for sample in samples]

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Count, and step."""
        self.group_sizes[len(group)] += 1
        return super().step(group)


def _spoilt(sample: Sample, prompt: str) -> Sample:
    if prompt not in SPOILS or not isinstance(sample, FluxSample):
        return sample
    return replace(sample, tokens=SPOILS[prompt](sample.tokens))


def wish(seed: int, *, prompt: str = "", side: int = SIDE) -> GenerationRequest:
    """Wish for a picture of two steps; another seed is another prompt, unless one is given, and another guidance."""
    return GenerationRequest(
        model="uno",
        prompt=prompt or f"wish {seed}",
        references=(),
        width=side,
        height=side,
        num_inference_steps=2,
        guidance_scale=1.0 + seed % 8,
        seed=seed,
    )
