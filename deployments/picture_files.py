"""The three kinds of picture files that are taken and made, and how each begins."""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes that are enough to tell the kinds apart.
HEAD_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFile:
    """A kind of picture file."""

    #: What people and the imaging library call it.
    name: str
    #: Media type.
    media_type: str
    #: File name extension without the dot.
    extension: str


PNG = PictureFile(name="PNG", media_type="image/png", extension="png")
JPEG = PictureFile(name="JPEG", media_type="image/jpeg", extension="jpg")
WEBP = PictureFile(name="WEBP", media_type="image/webp", extension="webp")


def recognised(head: bytes) -> PictureFile | None:
    """Tell a kind of file by how it begins; None when it is none of the three.

    Args:
        head: the first 12 bytes or more.

    Source: PNG specification, section 5.2; JPEG, ITU-T T.81, annex B; WebP container specification, file header.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    return WEBP if head[:4] == b"RIFF" and head[8:HEAD_BYTES] == b"WEBP" else None
