"""The sink that keeps pictures in a folder, under names that cannot be guessed and that say when they expire.

    {name}-{expiry}-{128 random bits}.{extension}        expiry in seconds since 1970, UTC

Whoever has the name may read the file, until then. The folder may be shared by several machines.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deployments.clock import utc_now
from deployments.delivery.names import NAME, new_name
from deployments.delivery.sink import EncodedImage
from deployments.errors import UxoError

if TYPE_CHECKING:
    from deployments.settings import Settings

# The last is a kept picture of which nobody said in time what it would be.
_CONTENT_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "img": "application/octet-stream",
}
_DRAFT_SUFFIX = ".part"


class LinkUnknown(UxoError):
    """There is no file at this link."""


class LinkExpired(LinkUnknown):
    """The life time of this file is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that may be handed out."""

    #: Where it lies.
    path: Path
    #: Media type, e.g. ``image/jpeg``.
    content_type: str
    #: Seconds until it may no longer be handed out.
    lifetime_s: int


class FilesSink:
    """Keeps pictures as files in one folder."""

    def __init__(self, folder: Path, *, ttl_s: float, clock: Callable[[], datetime] = utc_now) -> None:
        """Take the folder, made when it is first needed, and how long a file lives in seconds."""
        self._folder = folder
        self._ttl_s = ttl_s
        self._clock = clock

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Keep pictures in ``outputs`` below the service's folder."""
        return cls(settings.folder.resolve() / "outputs", ttl_s=settings.output_ttl_s)

    async def put(
        self,
        name: str,
        image: EncodedImage,
        *,
        tenant_id: str = "",  # noqa: ARG002 -- the protocol's argument
        lifetime_s: float | None = None,
    ) -> str:
        """Write a picture so that it is there whole, on disk, or not at all; return its file name.

        Raises:
            OSError: when it could not be written.
            ValueError: when the name holds more than letters, digits and ``-``.
        """
        value = self.new_value(name, image.extension, lifetime_s=lifetime_s)
        await asyncio.to_thread(_write_whole, self._folder / value, image.content)
        return value

    def new_value(self, name: str, extension: str, *, lifetime_s: float | None = None) -> str:
        """Make the name of a file that is not there yet.

        Raises:
            ValueError: when the name holds more than letters, digits and ``-``.
        """
        lives_s = self._ttl_s if lifetime_s is None else min(lifetime_s, self._ttl_s)
        return new_name(name, extension, expiry_s=self.now_s() + lives_s)

    async def put_once(self, value: str, image: EncodedImage) -> bool:
        """Write a picture under a name that was made before; False when it is there already, or its time is over."""
        if NAME.fullmatch(value) is None or self._has_expired(Path(value)):
            return False
        if await asyncio.to_thread((self._folder / value).exists):
            return False
        try:
            await asyncio.to_thread(_write_whole, self._folder / value, image.content)
        except FileExistsError:  # somebody else is writing it
            return False
        return True

    async def find(self, name: str) -> str | None:
        """Return the newest file whose name starts so and whose time is not over."""
        found = await asyncio.to_thread(lambda: sorted(self._folder.glob(f"{name}-*")))
        alive = [path.name for path in found if NAME.fullmatch(path.name) and not self._has_expired(path)]
        return alive[-1] if alive else None

    async def remove(self, value: str) -> None:
        """Delete a file, at once and for good; one that is gone already is none of its business.

        Raises:
            OSError: when it could not be deleted.
        """
        if NAME.fullmatch(value) is not None:
            await asyncio.to_thread((self._folder / value).unlink, missing_ok=True)

    async def drop(self, name: str) -> bool:
        """Delete the files whose names start so; False when there are none."""
        found = await asyncio.to_thread(lambda: list(self._folder.glob(f"{name}-*")))
        for path in found:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        return bool(found)

    async def read(self, value: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            LinkUnknown: when there is none such, or its time is over.
        """
        file = await self.open_link(value)
        try:
            return await asyncio.to_thread(file.path.read_bytes)
        except FileNotFoundError as error:  # swept in between
            raise LinkUnknown from error

    def link(self, value: str, *, base_url: str) -> str:
        """Return the address under which the ingress serves a file."""
        return f"{base_url}/files/{value}"

    def value_of(self, link: str, *, base_url: str, tenant_id: str) -> str | None:  # noqa: ARG002 -- the protocol's argument
        """Return the file name behind a link; whoever has it may read the file."""
        served = f"{base_url}/files/"
        return link.removeprefix(served) if base_url and link.startswith(served) else None

    async def open_link(self, value: str) -> StoredFile:
        """Find the file a link leads to.

        Args:
            value: the last part of the link, as a stranger sent it.

        Raises:
            LinkExpired: when its time is over, whether or not it was swept already.
            LinkUnknown: when there is no such file.
        """
        name = NAME.fullmatch(value)
        if name is None:
            raise LinkUnknown
        lifetime_s = int(name["expiry"]) - int(self.now_s())
        if lifetime_s <= 0:
            raise LinkExpired
        path = self._folder / value
        if not await asyncio.to_thread(path.is_file):
            raise LinkUnknown
        return StoredFile(path=path, content_type=_CONTENT_TYPES[name["extension"]], lifetime_s=lifetime_s)

    async def sweep(self) -> int:
        """Delete the files whose time is over, unfinished ones too, and return how many."""
        return await asyncio.to_thread(self._sweep)

    def _sweep(self) -> int:
        expired = [path for path in self._folder.glob("*") if self._has_expired(path)]
        for path in expired:
            path.unlink(missing_ok=True)  # another sweeper may have been here
        return len(expired)

    def _has_expired(self, path: Path) -> bool:
        name = NAME.fullmatch(path.name.removesuffix(_DRAFT_SUFFIX))
        return name is not None and int(name["expiry"]) <= self.now_s()

    def now_s(self) -> float:
        """Return the time by which files expire, in seconds since 1970."""
        return self._clock().timestamp()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file under a draft name and rename it once its bytes are on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + _DRAFT_SUFFIX)
    with draft.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A rename survives a power cut only once the folder itself is on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
