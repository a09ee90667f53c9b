"""Keeps the pictures that callers send or name, a few at a time; does not know what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployments.errors import SourceRefused, Unavailable
from deployments.operations import operation as asked
from deployments.operations import outcome as came
from deployments.operations.own_pictures import own_link
from deployments.operations.turns import Turns
from deployments.outbound.refused import ReferenceRefused

if TYPE_CHECKING:
    from deployments.delivery.kept import KeptPictures
    from deployments.delivery.sink import Sink
    from deployments.operations.caller import Caller
    from deployments.references import References

#: Pictures that a process fetches or keeps at once; each may be 20 MiB, and is in memory more than once meanwhile.
KEEP_AT_ONCE = 4
#: How many of them may be one tenant's.
KEEP_PER_TENANT = 2


class Keeping:
    """Carries out what callers ask for with pictures of their own."""

    def __init__(self, *, kept: KeptPictures, references: References, sinks: Mapping[str, Sink]) -> None:
        """Take what keeps pictures, what brings those that are only named, and what makes their links."""
        self._kept = kept
        self._references = references
        self._sinks = sinks
        self._turns = Turns(at_once=KEEP_AT_ONCE, per_tenant=KEEP_PER_TENANT)

    async def keep(self, keep: asked.Keep, caller: Caller) -> came.Kept:
        """Keep a picture, fetching it first if need be; however many come at once, few are held in memory.

        Raises:
            CallRefused: when it is none that can be kept, or cannot be fetched.
        """
        async with self._turns.turn(caller.tenant_id):
            content = keep.content
            if content is None:
                content = await self._fetched(keep.source or "", caller)
            value, image = await self._kept.keep(content, tenant_id=caller.tenant_id, uuid=keep.uuid)
        return came.Kept(
            url=self._sinks["files"].link(value, base_url=caller.base_url),
            uuid=keep.uuid,
            content_type=image.content_type,
            size_bytes=len(image.content),
            file_name=keep.file_name,
        )

    async def grant(self, grant: asked.GrantUpload, caller: Caller) -> came.Granted:
        """Make an address that takes one picture.

        Raises:
            BadCall: when the media type is none of a picture that can be kept.
            CallRefused: when the caller keeps as much as it may.
        """
        granted = await self._kept.grant(grant.content_type, tenant_id=caller.tenant_id)
        return came.Granted(
            put_url=f"{caller.base_url}/uploads/{granted.token}/{granted.value}",
            url=self._sinks["files"].link(granted.value, base_url=caller.base_url),
            content_type=grant.content_type,
            expires_at=datetime.fromtimestamp(granted.until_s, UTC),
        )

    async def _fetched(self, source: str, caller: Caller) -> bytes:
        try:
            link = own_link(source, caller, sinks=self._sinks)
            return await self._references.fetch(link, tenant_id=caller.tenant_id)
        except ReferenceRefused as error:
            raise SourceRefused(f"the picture {error.message}") from error
        except OSError as error:
            raise Unavailable("the picture cannot be read right now") from error
