"""Writes a finished picture as a file, alike every time: nothing but the pixels and the settings decides its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any

from deployments.delivery.sink import EncodedImage
from deployments.picture_files import JPEG, PNG, WEBP, PictureFile
from models.request import GeneratedImage, ImageFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoding:
    """How one format is written."""

    #: The kind of file.
    kind: PictureFile
    #: What to tell the library besides the quality.
    settings: Mapping[str, Any]


_ENCODINGS = MappingProxyType(
    {
        ImageFormat.JPEG: _Encoding(kind=JPEG, settings={}),
        # Level 1 with run-length matching: several times faster than the library's default for much the same size.
        ImageFormat.PNG: _Encoding(kind=PNG, settings={"compress_level": 1, "compress_type": 3}),
        ImageFormat.WEBP: _Encoding(kind=WEBP, settings={}),
    }
)


def encode(image: GeneratedImage, output_format: ImageFormat, quality: int = 95) -> EncodedImage:
    """Encode a picture.

    Args:
        image: the picture; RGB.
        output_format: the format to write.
        quality: of JPEG and WebP, [1, 100]; PNG loses nothing and ignores it.
    """
    encoding = _ENCODINGS[output_format]
    # A copy without the notes a picture carries: the library would write some of them into the file.
    bare = image.image.copy()
    bare.info = {}
    file = BytesIO()
    bare.save(file, format=encoding.kind.name, quality=quality, **encoding.settings)
    return EncodedImage(
        content=file.getvalue(), content_type=encoding.kind.media_type, extension=encoding.kind.extension
    )
