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


class NotFinite(RuntimeError):
    """A sample has become infinite or no number at all; nothing can be made of it."""


class OutOfMemory(RuntimeError):
    """The device had no memory for this call; a smaller group may still fit."""


class DeviceBroken(RuntimeError):
    """The device no longer computes anything; the process has to be replaced."""

    #: Requests that it worked for when it was lost: one of them may have done it.
    suspects: frozenset[str] = frozenset()


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

        Raises:
            NotFinite: when a sample of the group has become infinite or no number.
            OutOfMemory: when there is no memory for so large a group.
            DeviceBroken: when the device is lost, also to every later call.
        """
        ...

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Turn denoised samples of one shape into pictures of exactly the size that was asked for."""
        ...

    def preview(self, sample: Sample) -> Image.Image | None:
        """Show roughly what a sample is becoming, as a small RGB picture; None where a model has no way to."""
        ...


class ComparingPipeline(Pipeline, Protocol):
    """A pipeline that can tell how alike two samples are."""

    def difference(self, one: Sample, other: Sample) -> float:
        """Return by how much the latents of two samples of one shape differ at most; not 0 where one has no number."""
        ...
