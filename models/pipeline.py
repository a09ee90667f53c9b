"""The Pipeline protocol: the only door between the engine and a model.

    prepare ──► step ──► step ──► … ──► decode

A pipeline keeps no state of its own between calls: everything a sample needs travels in the sample, so
samples of many requests may be stepped in any order and in any company.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from models.request import GeneratedImage, GenerationRequest
from models.sample import Sample

if TYPE_CHECKING:
    from PIL import Image


class Pipeline(Protocol):
    """One model's way from a request to pixels."""

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Encode prompt and references and draw the noise.

        Args:
            request_id: written into every sample.
            request: the wish; one sample is made per picture it asks for.
            images: the decoded RGB references, in the order of ``request.references``.

        Returns:
            ``request.num_images`` samples at step 0, all of one shape.

        Raises:
            UnusableReference: when a picture cannot serve as a reference, e.g. because scaling leaves nothing of it.
        """
        ...

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Advance samples of one shape by one denoising step each.

        Returns:
            The advanced samples in the order of ``group``; the given ones are left as they were, so a step that
            raises has changed nothing.
        """
        ...

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Turn denoised samples of one shape into pictures of exactly the size that was asked for."""
        ...
