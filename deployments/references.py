"""Brings the bytes of references, from wherever they are: out of our own sinks, or from the web.

    file:<name>     a picture that this service serves        https://…   anywhere else, through ``outbound``
    bucket:<key>    a picture in our bucket                   data:…      in the reference itself
    kept:<name>     a picture that a tenant keeps

The first three are never a caller's words: ``operations`` writes them in the place of links and UUIDs of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from deployments.delivery.files import LinkUnknown
from deployments.outbound.refused import ReferenceRefused

if TYPE_CHECKING:
    from deployments.delivery.files import FilesSink
    from deployments.delivery.sink import Sink

#: How own pictures are referred to.
FILE, KEPT, BUCKET = "file:", "kept:", "bucket:"
#: The sinks that own pictures are read from, by how they are referred to.
OWN = MappingProxyType({FILE: "files", BUCKET: "bucket"})
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

    def __init__(self, files: FilesSink, web: Web, *, sinks: Mapping[str, Sink] | None = None) -> None:
        """Take the own pictures, what brings everything else, and the other sinks that hold own pictures."""
        self._files = files
        self._sinks: Mapping[str, Sink] = {"files": files, **(sinks or {})}
        self._web = web

    async def fetch(self, source: str, *, tenant_id: str) -> bytes:
        """Bring the bytes of a reference, for one tenant.

        Raises:
            ReferenceRefused: when it may not or cannot be brought; its message is for the tenant.
            OSError: when our own sink is away, which is not the tenant's fault.
            Unavailable: when our own database is, which is not either.
        """
        for scheme, kind in OWN.items():
            if source.startswith(scheme):
                return await self._read(source.removeprefix(scheme), kind)
        if source.startswith(KEPT):
            found = await self._files.find(source.removeprefix(KEPT))
            if found is None:
                raise ReferenceRefused(_GONE)
            return await self._read(found, "files")
        return await self._web.fetch(source, tenant_id=tenant_id)

    async def _read(self, value: str, kind: str) -> bytes:
        if kind not in self._sinks:  # it was there when the reference was accepted
            raise ReferenceRefused(_GONE)
        try:
            return await self._sinks[kind].read(value)
        except LinkUnknown as error:
            raise ReferenceRefused(_GONE) from error
