"""The sink that keeps a picture inside the task itself, as base64; for callers who want it in the answer."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Self

from deployments.delivery.sink import EncodedImage

if TYPE_CHECKING:
    from deployments.settings import Settings


class InlineSink:
    """Keeps pictures in the task's own row."""

    @classmethod
    def open(cls, _settings: Settings) -> Self:
        """Build it; there is nothing to set."""
        return cls()

    async def put(self, name: str, image: EncodedImage, *, lifetime_s: float | None = None) -> str:  # noqa: ARG002 -- the protocol's argument
        """Return the picture as naked base64; it is as safe as the task it is stored with."""
        return base64.b64encode(image.content).decode("ascii")

    async def remove(self, value: str) -> None:
        """Leave it to whoever blanks the task, for the picture is nowhere else."""

    def link(self, value: str, *, base_url: str) -> str:  # noqa: ARG002 -- the protocol's argument
        """Return the base64 itself."""
        return value
