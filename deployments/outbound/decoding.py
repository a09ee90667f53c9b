"""Turns a stranger's bytes into an RGB picture, or refuses them before they cost anything.

Three formats, recognised by their first bytes; the size is checked before a single pixel is decoded. It is blocking
work: call it in a thread.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO

from PIL import Image

from deployments.outbound.refused import ReferenceRefused
from deployments.picture_files import recognised

#: Most pixels of a reference; references are scaled to a few hundred pixels a side anyway.
MAX_PIXELS = 25_000_000
#: Longest side of a reference in pixels.
MAX_SIDE = 16_384

#: What the library raises for files that are broken in one way or another.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, OverflowError, TypeError, LookupError, struct.error, zlib.error)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# For the whole process, for a filter set around one call would not be safe between threads: a bomb is an error, and
# what the library thinks of a stranger's broken metadata does not belong in our log.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_ORIENTATION_TAG = 0x0112
#: What undoes each EXIF orientation. Source: Exif 2.32, tag 0x0112; 1 is upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(content: bytes) -> Image.Image:
    """Decode a PNG, JPEG or WebP file.

    Returns:
        The first frame in RGB, upright, without metadata. Transparency is dropped, not composited.

    Raises:
        ReferenceRefused: when the format is another, the picture too large, or the file broken or cut short.
    """
    kind = recognised(content)
    if kind is None:
        raise ReferenceRefused("is not a PNG, JPEG or WebP picture")
    try:
        with Image.open(BytesIO(content), formats=[kind.name]) as image:
            _check_size(*image.size)
            image.load()
            return _bare(_to_rgb(_upright(image)))
    except _BOMB as error:
        raise ReferenceRefused(_too_many_pixels()) from error
    except _BROKEN as error:
        raise ReferenceRefused(f"is a broken {kind.name} file") from error


def _check_size(width: int, height: int) -> None:
    if min(width, height) < 1:
        raise ReferenceRefused("has no pixels")
    if max(width, height) > MAX_SIDE:
        raise ReferenceRefused(f"is more than {MAX_SIDE} pixels long on one side")
    if width * height > MAX_PIXELS:
        raise ReferenceRefused(_too_many_pixels())


def _too_many_pixels() -> str:
    return f"has more than {MAX_PIXELS // 1_000_000} megapixels"


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except _BROKEN:  # unreadable metadata does not spoil a readable picture
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: converting clips at 255 instead of scaling
        image = image.point(lambda value: value * (1 / 256))
    return image.convert("RGB")


def _bare(image: Image.Image) -> Image.Image:
    image.info = {}
    return image
