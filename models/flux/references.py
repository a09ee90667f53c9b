"""Reference pictures cut to the sizes UNO and USO were trained to look at.

Knows Pillow pictures and sizes as (width, height) in pixels; knows no torch and no request. The arithmetic follows
the authors' programs to the pixel, oddities included, since sizes decide positions and positions decide pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from typing import TypeAlias

    Size: TypeAlias = tuple[int, int]

#: Sides of a reference are multiples of this many pixels: one token.
GRID = 16
#: Longer side of a lone reference, and of USO's content picture, in pixels.
LONG_SIDE_ALONE = 512
#: Longer side of each reference when there are several, in pixels.
LONG_SIDE_SHARED = 320
#: The one size that USO takes as it comes.
USO_SPARED: Size = (16, 16)
#: Longer side of the picture made when USO keeps the content picture's proportions, in pixels.
KEEP_SIZE_LONG_SIDE = 1024


class EmptyReference(ValueError):
    """The picture is too long and thin: scaled down, its short side vanishes."""


def long_side(count: int) -> int:
    """Choose the longer side in pixels for each of ``count`` references of one request.

    Source: UNO and USO, published command lines, 2025.
    """
    return LONG_SIDE_ALONE if count <= 1 else LONG_SIDE_SHARED


def preprocess(image: Image.Image, long_side: int, *, spared: Size | None = None) -> Image.Image:
    """Scale a picture to its long side and crop it centrally to whole tokens.

    Resizing happens in the picture's own mode and only the result becomes RGB, so alpha is dropped, not blended.

    Args:
        image: of any mode and size; small ones are enlarged.
        long_side: in pixels.
        spared: a size that is left as it is; ``USO_SPARED`` for USO.

    Returns:
        An RGB picture of the size that ``fit`` states.

    Raises:
        EmptyReference: when nothing would be left.

    Source: UNO and USO, published inference code, 2025; checked by tests/golden/preprocess_arrays.safetensors.
    """
    width, height = fit(image.size, long_side, spared=spared)
    if not width or not height:
        size = f"{image.width}x{image.height}"
        raise EmptyReference(f"is too long and thin ({size}): scaled to {long_side} pixels nothing is left")
    if image.size == spared:
        return image.convert("RGB")
    scaled = image.resize(_scale(image.size, long_side), Image.Resampling.LANCZOS)
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    return scaled.crop((left, top, left + width, top + height)).convert("RGB")


def fit(size: Size, long_side: int, *, spared: Size | None = None) -> Size:
    """Say which size ``preprocess`` arrives at; a side of 0 means that it will refuse."""
    return size if size == spared else align(_scale(size, long_side))


def _scale(size: Size, long_side: int) -> Size:
    width, height = size
    # The quotient is rounded before the product is taken, as the authors do: a square may come out one pixel short.
    if width >= height:
        return long_side, int(long_side / width * height)
    return int(long_side / height * width), long_side


def align(size: Size) -> Size:
    """Floor both sides to whole tokens."""
    width, height = size
    return width // GRID * GRID, height // GRID * GRID


def keep_size(content: Size, long_side: int) -> Size:
    """Derive the size of a picture that keeps the proportions of USO's content picture.

    Args:
        content: size of the content picture after ``preprocess``.
        long_side: that ``preprocess`` was given.

    Returns:
        The size to ask for; ``align`` says what is then made.

    Source: USO, published demo, option keep_size, 2025; checked by tests/golden/preprocess.json.
    """
    ratio = KEEP_SIZE_LONG_SIDE / long_side
    return int(content[0] * ratio), int(content[1] * ratio)
