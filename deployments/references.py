"""Brings the bytes of references, from wherever they are: out of a tenant's own kept pictures, or from the web.

    file:<name>     a picture that this service serves        https://…   anywhere else, through ``outbound``
    kept:<name>     a picture that a tenant keeps             data:…      in the reference itself

The first two are never a caller's words: ``operations`` writes them in the place of links and UUIDs of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from deployments.delivery.files import LinkUnknown
from deployments.outbound.refused import ReferenceRefused

if TYPE_CHECKING:
    from deployments.delivery.files import FilesSink

#: How own pictures are referred to.
FILE, KEPT = "file:", "kept:"
#: What is said of one that is not there.
_GONE = "is not there, or no longer"


class Web(Protocol):
    """Brings what is not ours; ``outbound.references.ReferenceFetcher`` does."""

    async def fetch(self, source: str, *, tenant_id: str) -> bytes:
        """Bring the bytes behind an address or a data URI, for one tenant.

        Raises:
            ReferenceRefused: with the reason, in words for the caller.
        """
        ...


class References:
    """Brings references of every tenant; keeps nothing between two of them."""

    def __init__(self, files: FilesSink, web: Web) -> None:
        """Take the own pictures, and what brings everything else."""
        self._files = files
        self._web = web

    async def fetch(self, source: str, *, tenant_id: str) -> bytes:
        """Bring the bytes of a reference, for one tenant.

        Raises:
            ReferenceRefused: when it may not or cannot be brought; its message is for the tenant.
        """
        if source.startswith(FILE):
            return await self._read(source.removeprefix(FILE))
        if source.startswith(KEPT):
            found = await self._files.find(source.removeprefix(KEPT))
            if found is None:
                raise ReferenceRefused(_GONE)
            return await self._read(found)
        return await self._web.fetch(source, tenant_id=tenant_id)

    async def _read(self, value: str) -> bytes:
        try:
            return await self._files.read(value)
        except LinkUnknown as error:
            raise ReferenceRefused(_GONE) from error
