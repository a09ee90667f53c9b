"""Noise, latents, tokens and positions: the shapes of FLUX's latent space.

    noise ──► pack ──► tokens + ids ──► (transformer) ──► unpack ──► latents

Knows nothing of pictures, models or prompts. Everything is float32 on the CPU unless the caller brings other tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Channels of a FLUX latent.
CHANNELS = 16
#: Latent pixels on the side of one token.
PATCH = 2


class ShapeError(ValueError):
    """A tensor's height, width or token count does not fit what is asked of it."""


def draw_noise(seed: int, *, height: int, width: int, scale: int = 8) -> Tensor:
    """Draw the noise a picture starts from.

    The CPU generator is used whatever the device, so that a seed means one picture everywhere.

    Args:
        seed: of the picture.
        height: of the picture in pixels.
        width: of the picture in pixels.
        scale: pixels per latent pixel.

    Returns:
        (1, 16, h, w) standard normal, float32; h and w are even, the picture rounded up to whole tokens.

    Source: UNO and USO, published sampling code, 2025; checked by tests/golden/noise_cpu.safetensors.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    rows, columns = _tokens_along(height, scale), _tokens_along(width, scale)
    return torch.randn(1, CHANNELS, PATCH * rows, PATCH * columns, generator=generator, dtype=torch.float32)


def _tokens_along(pixels: int, scale: int) -> int:
    return -(-pixels // (PATCH * scale))


def pack(latents: Tensor) -> Tensor:
    """Fold every 2x2 patch of latent pixels into one token.

    Args:
        latents: (batch, channels, height, width) in latent pixels; both sides even.

    Returns:
        (batch, height/2 * width/2, 4 * channels), row by row; inside a token channel, then row, then column.

    Raises:
        ShapeError: when height or width is odd.

    Source: FLUX.1 reference code, sampling, 2024; checked by tests/golden/pack.safetensors.
    """
    batch, channels, height, width = latents.shape
    if height % PATCH or width % PATCH:
        raise ShapeError(f"latents of {height}x{width} do not divide into {PATCH}x{PATCH} patches")
    rows, columns = height // PATCH, width // PATCH
    patches = latents.reshape(batch, channels, rows, PATCH, columns, PATCH).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, rows * columns, channels * PATCH * PATCH)


def unpack(tokens: Tensor, *, height: int, width: int) -> Tensor:
    """Lay tokens out as latents; the inverse of ``pack``.

    Args:
        tokens: (batch, height/2 * width/2, 4 * channels).
        height: of the result in latent pixels.
        width: of the result in latent pixels.

    Returns:
        (batch, channels, height, width).

    Raises:
        ShapeError: when the tokens do not fill that rectangle.
    """
    batch, count, values = tokens.shape
    rows, columns = height // PATCH, width // PATCH
    if height % PATCH or width % PATCH or rows * columns != count:
        raise ShapeError(f"{count} tokens do not fill latents of {height}x{width}")
    patches = tokens.reshape(batch, rows, columns, values // PATCH**2, PATCH, PATCH).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(batch, values // PATCH**2, height, width)


def target_ids(rows: int, columns: int) -> Tensor:
    """Number the tokens of the picture being made.

    Returns:
        (rows * columns, 3) float32: (0, row, column), row by row from (0, 0, 0).
    """
    return _grid_ids(rows, columns, origin=(0, 0))


def reference_ids(target: tuple[int, int], references: Sequence[tuple[int, int]], *, mode: str = "d") -> list[Tensor]:
    """Number the tokens of the references so that each has a place of its own.

    Args:
        target: (rows, columns) of the picture being made, in tokens.
        references: (rows, columns) of each reference, in tokens and in order.
        mode: ``d`` puts them down the diagonal, ``h`` below and ``w`` beside the target, ``o`` all over it. The
            released weights expect ``d``.

    Returns:
        One (rows * columns, 3) float32 per reference.

    Raises:
        ValueError: for another mode.

    Source: UNO (arXiv 2504.02160), section on its position embedding, and the published sampling code; checked by
    tests/golden/position_ids.safetensors.
    """
    if mode not in {"d", "h", "w", "o"}:
        raise ValueError(f"position mode {mode!r} is none of d, h, w, o")
    ids = []
    row, column = target
    for rows, columns in references:
        ids.append(_grid_ids(rows, columns, origin=(row if mode in "dh" else 0, column if mode in "dw" else 0)))
        # Both offsets grow in every mode, also where only one of them is used.
        row, column = row + rows, column + columns
    return ids


def _grid_ids(rows: int, columns: int, *, origin: tuple[int, int]) -> Tensor:
    ids = torch.zeros(rows, columns, 3, dtype=torch.float32)
    ids[..., 1] = torch.arange(origin[0], origin[0] + rows, dtype=torch.float32)[:, None]
    ids[..., 2] = torch.arange(origin[1], origin[1] + columns, dtype=torch.float32)[None, :]
    return ids.reshape(rows * columns, 3)


def text_ids(count: int) -> Tensor:
    """Number text and style tokens: they all stand at the origin.

    Returns:
        (count, 3) float32 zeros.
    """
    return torch.zeros(count, 3, dtype=torch.float32)
