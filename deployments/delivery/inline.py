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

    async def put(
        self,
        name: str,  # noqa: ARG002 -- the protocol's argument, as the next two
        image: EncodedImage,
        *,
        tenant_id: str = "",  # noqa: ARG002
        lifetime_s: float | None = None,  # noqa: ARG002
    ) -> str:
        """Return the picture as naked base64; it is as safe as the task it is stored with."""
        return base64.b64encode(image.content).decode("ascii")

    def link(self, value: str, *, base_url: str) -> str:  # noqa: ARG002 -- the protocol's argument
        """Return the base64 itself."""
        return value

    def value_of(self, link: str, *, base_url: str, tenant_id: str) -> str | None:  # noqa: ARG002 -- the protocol's arguments
        """Return None: base64 is no link, and says by itself what a picture is."""
        return None

    async def read(self, value: str) -> bytes:
        """Return the bytes of a picture."""
        return base64.b64decode(value, validate=True)

    async def remove(self, value: str) -> None:
        """Do nothing: the picture goes with its task."""
