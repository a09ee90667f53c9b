"""Turns the bytes of a picture file into an RGB picture, or refuses them before they cost anything.

Three formats, recognised by their first bytes; the size is checked before a single pixel is decoded. Runs in the
processes of this folder alone: whatever a file does to the library, it does there.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

from PIL import Image

from deployments.decoding.rules import PictureRefused, Refusal, refusal_of
from deployments.picture_files import JPEG, WEBP, recognised

#: Longer side in pixels above which a JPEG is decoded at half its size. What is left is still twice the longest side
#: of any result and eight times what a model looks at, for a quarter of the time and memory.
HALVED_ABOVE = 4_096

#: What the library raises for files that are broken in one way or another.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, OverflowError, TypeError, LookupError, struct.error, zlib.error)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# For the whole process: a bomb is an error, and what the library thinks of a stranger's broken metadata does not
# belong in our log.
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
        PictureRefused: when the format is another, the size out of bounds, or the file broken or cut short.
    """
    kind = recognised(content)
    if kind is None:
        raise PictureRefused(Refusal.UNKNOWN)
    if kind is WEBP:
        _check_canvas(content)
    try:
        with Image.open(BytesIO(content), formats=[kind.name]) as image:
            _check_size(*image.size)
            if kind is JPEG:
                _halve(image)
            image.load()
            _let_go_of_file(image)
            return _bare(_to_rgb(_upright(image)))
    except _BOMB as error:
        raise PictureRefused(Refusal.TOO_LARGE) from error
    except _BROKEN as error:
        raise PictureRefused(Refusal.BROKEN) from error


def _check_canvas(content: bytes) -> None:
    """Check the size of an extended WebP file, for the library reserves memory for it as soon as it opens one.

    Source: WebP container specification, section "Extended File Format"; the other two kinds hold 16,383 pixels a
    side at most.
    """
    if content[12:16] == b"VP8X":
        _check_size(*(int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27)))


def _check_size(width: int, height: int) -> None:
    why = refusal_of(width, height)
    if why is not None:
        raise PictureRefused(why)


def _halve(image: Image.Image) -> None:
    """Let a very large picture be decoded at half its size; only if that is exact, for results may keep its shape."""
    width, height = image.size
    if max(width, height) > HALVED_ABOVE and width % 2 == height % 2 == 0:
        image.draft(None, (width // 2, height // 2))


def _let_go_of_file(image: Any) -> None:
    """Free what only reading needed: for WebP that is three times the picture, and memory is short here."""
    image.fp = None
    image._decoder = None  # noqa: SLF001 -- nothing public lets go of the library's two canvases


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
