"""The sink that keeps pictures in a folder, under names that cannot be guessed and that say when they expire.

    {name}-{expiry}-{128 random bits}.{extension}        expiry in seconds since 1970, UTC
    kept/{2 digits}/{name}/…                             where it lies, if its name begins with kept-

Whoever has the name may read the file, until then. What is kept for requests to refer to is looked up by the start of
its name, so each such name has a folder of its own: nobody's lookup lists everybody's files. The folder may be shared
by several machines.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

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
_KEPT = re.compile(r"kept-(?P<shard>[0-9a-f]{2})[0-9a-f]{30}")


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
        await asyncio.to_thread(_write_whole, self._path(value), image.content)
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
        return await asyncio.to_thread(_write_new, self._path(value), image.content)

    async def find(self, name: str) -> str | None:
        """Return the newest file that is kept under a name and whose time is not over."""
        found = await asyncio.to_thread(self._kept_under, name)
        alive = [path.name for path in found if NAME.fullmatch(path.name) and not self._has_expired(path)]
        return alive[-1] if alive else None

    async def remove(self, value: str) -> None:
        """Delete a file, at once and for good; one that is gone already is none of its business.

        Raises:
            OSError: when it could not be deleted.
        """
        if NAME.fullmatch(value) is not None:
            await asyncio.to_thread(self._path(value).unlink, missing_ok=True)

    async def drop(self, name: str) -> list[str]:
        """Delete the files that are kept under a name, and return which."""
        found = await asyncio.to_thread(self._kept_under, name)
        for path in found:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        return [path.name for path in found]

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
        path = self._path(value)
        if not await asyncio.to_thread(path.is_file):
            path = self._folder / value  # kept by an older version, and not moved yet
            if not await asyncio.to_thread(path.is_file):
                raise LinkUnknown
        return StoredFile(path=path, content_type=_CONTENT_TYPES[name["extension"]], lifetime_s=lifetime_s)

    async def sweep(self) -> int:
        """Delete the files whose time is over, unfinished ones too, and return how many."""
        return await asyncio.to_thread(self._sweep)

    def _path(self, value: str) -> Path:
        shown = NAME.fullmatch(value)
        return self._folder / value if shown is None else self._folder_of(shown["name"]) / value

    def _folder_of(self, name: str) -> Path:
        kept = _KEPT.fullmatch(name)
        return self._folder if kept is None else self._folder / "kept" / kept["shard"] / name

    def _kept_under(self, name: str) -> list[Path]:
        if not _KEPT.fullmatch(name):
            return []
        return sorted(path for path in self._folder_of(name).glob("*") if NAME.fullmatch(path.name))

    def _sweep(self) -> int:
        for path in self._folder.glob("kept-*"):
            self._move(path)
        expired = [path for path in self._files() if self._has_expired(path)]
        for path in expired:
            path.unlink(missing_ok=True)  # another sweeper may have been here
            if path.parent != self._folder:
                with suppress(OSError):  # others are kept under that name
                    path.parent.rmdir()
        return len(expired)

    def _files(self) -> Iterator[Path]:
        yield from self._folder.glob("*")
        yield from self._folder.glob("kept/*/*/*")

    def _move(self, path: Path) -> None:
        """Put what an older version kept where it is looked for now."""
        place = self._path(path.name)
        if place != path:
            place.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another sweeper was here
                path.replace(place)

    def _has_expired(self, path: Path) -> bool:
        name = NAME.fullmatch(path.name.removesuffix(_DRAFT_SUFFIX))
        return name is not None and int(name["expiry"]) <= self.now_s()

    def now_s(self) -> float:
        """Return the time by which files expire, in seconds since 1970."""
        return self._clock().timestamp()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file under a draft name and rename it once its bytes are on the disk."""
    draft = path.with_name(path.name + _DRAFT_SUFFIX)
    with _new_file(draft) as file:
        _finish(path, draft, file, content)


def _write_new(path: Path, content: bytes) -> bool:
    """Write a file as a whole if there is none yet; of all who try at once, one can, and the others get False."""
    draft = path.with_name(path.name + _DRAFT_SUFFIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = _new_file(draft)
    except FileExistsError:  # somebody else is writing it
        return False
    try:
        with file:
            # Asked while the draft is held, which one writer has at a time, so nobody can finish in between.
            is_first = not path.exists()
            if is_first:
                _finish(path, draft, file, content)
    finally:
        draft.unlink(missing_ok=True)
    return is_first


def _finish(path: Path, draft: Path, file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _new_file(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.open("xb")
    except FileNotFoundError:  # the sweep took the folder for an empty one in this very moment
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


def _sync_folder(folder: Path) -> None:
    # A rename survives a power cut only once the folder itself is on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
