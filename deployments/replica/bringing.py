"""Brings a claimed task's references to their pictures; fetched beside one another, decoded in other processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from deployments.decoding.rules import PictureRefused
from deployments.errors import ReferenceUnreachable, ReferenceUnusable
from deployments.outbound.refused import ReferenceRefused
from deployments.telemetry.laps import DECODE_REFERENCES, FETCH, lap
from models.catalog import MAX_SIDE, MIN_SIDE
from models.request import GenerationRequest, Reference

if TYPE_CHECKING:
    from PIL import Image

#: Sides of a result that had to be scaled to fit are multiples of this.
GRID = 16


class Fetcher(Protocol):
    """Brings the bytes of references; ``references.References`` does."""

    async def fetch(self, source: str, *, tenant_id: str) -> bytes:
        """Bring the bytes behind an address or a data URI, for one tenant.

        Raises:
            ReferenceRefused: with the reason, in words for the caller.
        """
        ...


class Decode(Protocol):
    """Turns the bytes of a file into a picture; ``decoding.pool`` does."""

    async def __call__(self, content: bytes) -> Image.Image:
        """Decode a PNG, JPEG or WebP file.

        Raises:
            PictureRefused: with the reason, in words for the caller.
            NoDecoder: when it cannot be decoded now, for reasons that are not its own.
        """
        ...


async def bring(
    fetcher: Fetcher, references: Sequence[Reference], *, tenant_id: str, decode: Decode
) -> list[Image.Image]:
    """Bring the pictures of a tenant's references, in their order.

    Raises:
        ReferenceUnreachable: when one cannot be fetched.
        ReferenceUnusable: when one is no picture that can be used.
        NoDecoder: when none can be decoded now.
    """
    bringing = [
        _bring_one(fetcher, number, reference, tenant_id=tenant_id, decode=decode)
        for number, reference in enumerate(references, start=1)
    ]
    return await asyncio.gather(*bringing)


async def _bring_one(
    fetcher: Fetcher, number: int, reference: Reference, *, tenant_id: str, decode: Decode
) -> Image.Image:
    try:
        with lap(FETCH):
            content = await fetcher.fetch(reference.source, tenant_id=tenant_id)
    except ReferenceRefused as error:
        raise ReferenceUnreachable(f"reference {number} {error.message}") from error
    try:
        with lap(DECODE_REFERENCES):
            return await decode(content)
    except PictureRefused as error:
        raise ReferenceUnusable(f"reference {number} {error.message}") from error


def sized(request: GenerationRequest, images: Sequence[Image.Image]) -> GenerationRequest:
    """Give a request that keeps its size the size of its first picture, scaled only where it has to be.

    Source: the rule for ``keep_size`` in the dialects that have it; what does not fit is put on a grid of 16.
    """
    if not request.keep_size or not images:
        return request
    width, height = fitted(*images[0].size)
    return replace(request, width=width, height=height)


def fitted(width: int, height: int) -> tuple[int, int]:
    """Return a size within the models' bounds and as near to the shape of the one given as can be, in pixels."""
    if min(width, height) >= MIN_SIDE and max(width, height) <= MAX_SIDE:
        return width, height
    scale = MAX_SIDE / max(width, height) if max(width, height) > MAX_SIDE else MIN_SIDE / min(width, height)
    return _on_grid(width * scale), _on_grid(height * scale)


def _on_grid(side: float) -> int:
    return min(max(round(side / GRID) * GRID, MIN_SIDE), MAX_SIDE)
