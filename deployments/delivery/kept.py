"""Pictures that callers send so that requests can refer to them: kept beside the results, as files with a life time.

    keep    ──► a link for anybody, or a UUID for its tenant alone
    grant   ──► an address that takes one PUT without a key; its signature is the permission
    token   ──► what stands for a key where pictures are kept, for an hour, and nowhere else

A file's name says all there is to know of it; how much room each tenant's take is counted in ``kept_space``. A UUID
leads to a name only together with its tenant and the server's secret, so nobody else's UUID leads anywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployments.delivery.kept_space import KeptSpace, Place
from deployments.delivery.names import expiry_of
from deployments.delivery.sink import EncodedImage
from deployments.errors import BadCall, BodyTooLarge, NotFound, Unauthenticated
from deployments.picture_files import recognised

if TYPE_CHECKING:
    from deployments.delivery.files import FilesSink

#: Most bytes of one kept picture.
MAX_BYTES = 20 * 1024 * 1024
#: Seconds in which a granted address takes its PUT.
GRANT_S = 3600
#: The extension of a picture of which its sender does not say what it is.
ANY = "img"
#: What a kept picture may be: media type to file name extension.
EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/jpg": "jpg",
    "image/webp": "webp",
    "application/octet-stream": ANY,
}

_TOKEN = re.compile(r"(?P<until>[0-9]{1,12})-(?P<signature>[0-9a-f]{32})", re.ASCII)
_TENANT_TOKEN = re.compile(r"(?P<until>[0-9]{1,12})-(?P<signature>[0-9a-f]{32})-(?P<tenant>.{1,200})", re.ASCII)


class GrantOver(BadCall):
    """This upload address is not valid, no longer valid, or has been used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A permission to put one picture."""

    #: Names the file, before it is there.
    value: str
    #: The permission itself.
    token: str
    #: Until when it holds, in whole seconds since 1970.
    until_s: int


class KeptPictures:
    """Keeps what callers send."""

    def __init__(self, files: FilesSink, space: KeptSpace, *, secret: str) -> None:
        """Take the folder that keeps them, what counts their bytes, and the server's secret, everywhere the same."""
        self._files = files
        self._space = space
        self._secret = secret.encode()

    async def keep(self, content: bytes, *, tenant_id: str, uuid: str | None = None) -> tuple[str, EncodedImage]:
        """Keep a picture; whoever has the value that is returned first can fetch it.

        Args:
            content: the bytes of a PNG, JPEG or WebP file.
            tenant_id: who keeps it.
            uuid: under which name this tenant will refer to it.

        Raises:
            BadCall: when it is no such picture.
            BodyTooLarge: when it is larger than 20 MiB, or than all that its tenant may keep.
            QuotaExceeded: when its tenant keeps as much as it may.
            OSError: when it could not be placed.
        """
        image = checked(content)
        name = self.name_of(uuid, tenant_id=tenant_id) if uuid else f"kept-{secrets.token_hex(16)}"
        value = self._files.new_value(name, image.extension)
        now_s = self._files.now_s()
        await self._space.reserve(_place(value, tenant_id, len(content), taken_at=now_s), now_s=now_s)
        try:
            await self._files.put_once(value, image)
        except OSError:
            await self._space.give_back([value])
            raise
        return value, image

    async def drop(self, uuid: str, *, tenant_id: str) -> None:
        """Delete what a tenant keeps under a UUID.

        Raises:
            NotFound: when there is nothing.
        """
        dropped = await self._files.drop(self.name_of(uuid, tenant_id=tenant_id))
        if not dropped:
            raise NotFound
        await self._space.give_back(dropped)

    def name_of(self, uuid: str, *, tenant_id: str) -> str:
        """Return the start of the file name of what a tenant keeps under a UUID."""
        return f"kept-{self._signed(f'uuid {tenant_id} {uuid.lower()}')}"

    async def grant(self, content_type: str, *, tenant_id: str) -> Grant:
        """Let whoever gets the token put one picture of a tenant's.

        Raises:
            BadCall: when the media type is none of a picture that can be kept.
            BodyTooLarge: when its tenant may keep nothing.
            QuotaExceeded: when its tenant keeps as much as it may.
        """
        extension = EXTENSIONS.get(content_type.partition(";")[0].strip().lower())
        if extension is None:
            raise BadCall("content_type must be image/png, image/jpeg, image/webp or application/octet-stream")
        value = self._files.new_value("kept", extension)
        now_s = self._files.now_s()
        until_s = int(now_s) + GRANT_S
        await self._space.reserve(_place(value, tenant_id, MAX_BYTES, until_s=until_s), now_s=now_s)
        return Grant(value=value, token=f"{until_s}-{self._signed(f'put {value} {until_s}')}", until_s=until_s)

    def token_for(self, tenant_id: str) -> tuple[str, int]:
        """Return a token with which a tenant's pictures are kept, and until when it holds in seconds since 1970."""
        until_s = int(self._files.now_s()) + GRANT_S
        return f"{until_s}-{self._signed(f'keep {tenant_id} {until_s}')}-{tenant_id}", until_s

    def tenant_of(self, token: str) -> str:
        """Return whose pictures a token lets be kept.

        Raises:
            Unauthenticated: when it is none, or its time is over.
        """
        shown = _TENANT_TOKEN.fullmatch(token)
        if shown is None:
            raise Unauthenticated
        expected = self._signed(f"keep {shown['tenant']} {shown['until']}")
        if not hmac.compare_digest(shown["signature"], expected) or int(shown["until"]) < self._files.now_s():
            raise Unauthenticated
        return shown["tenant"]

    def check(self, value: str, token: str) -> None:
        """Return if a grant is one of ours whose time is not over; asked before a byte of its picture is read.

        Raises:
            GrantOver: when it is not.
        """
        shown = _TOKEN.fullmatch(token)
        if shown is None or not hmac.compare_digest(shown["signature"], self._signed(f"put {value} {shown['until']}")):
            raise GrantOver
        if int(shown["until"]) < self._files.now_s():
            raise GrantOver

    async def receive(self, value: str, token: str, content: bytes) -> EncodedImage:
        """Take the picture of a grant.

        Args:
            value: as in the grant.
            token: as in the grant, as a stranger sent it.
            content: the bytes of the file.

        Raises:
            GrantOver: when the permission is none, or no more.
            BadCall: when it is no picture, or of another kind than was announced.
            BodyTooLarge: when it is larger than 20 MiB, or than all that its tenant may keep.
            OSError: when it could not be placed; the grant holds as before.
        """
        self.check(value, token)
        image = checked(content)
        if not value.endswith((f".{image.extension}", f".{ANY}")):
            raise BadCall(f"this is {image.content_type}, which is not what was announced")
        expires_at = expiry_of(value) or 0
        if not await self._space.take(value, size_bytes=len(content), expires_at=expires_at, now_s=self._files.now_s()):
            raise GrantOver
        try:
            is_first = await self._files.put_once(value, image)
        except OSError:
            await self._space.reopen(value, until_s=float(token.partition("-")[0]))
            raise
        if not is_first:
            raise GrantOver
        return image

    def _signed(self, message: str) -> str:
        return hmac.new(self._secret, f"kept {message}".encode(), hashlib.sha256).hexdigest()[:32]


def _place(
    value: str, tenant_id: str, size_bytes: int, *, until_s: float = math.inf, taken_at: float | None = None
) -> Place:
    expires_at = min(float(expiry_of(value) or 0), until_s)
    return Place(value=value, tenant_id=tenant_id, size_bytes=size_bytes, expires_at=expires_at, taken_at=taken_at)


def checked(content: bytes) -> EncodedImage:
    """Return a picture that can be kept, with the kind that its first bytes tell.

    Raises:
        BadCall: when they are none that can be kept.
        BodyTooLarge: when they are more than 20 MiB.
    """
    if len(content) > MAX_BYTES:
        raise BodyTooLarge(f"a picture may have {MAX_BYTES // 1024**2} MiB at most")
    kind = recognised(content)
    if kind is None:
        raise BadCall("this is no PNG, JPEG or WebP picture")
    return EncodedImage(content=content, content_type=kind.media_type, extension=kind.extension)
