"""Noise levels of a picture's steps: FLUX's shifted schedule, in the two conventions that are about.

Knows sizes and step counts; knows no tensors of a picture and keeps no state, since every sample in a group is at a
step of its own.
"""

from __future__ import annotations

import math
from enum import StrEnum

import torch

#: The shift at a length of 256 and how it grows with each further unit of length.
#: Source: FLUX.1 reference code, sampling, 2024: 0.5 at 256 and 1.15 at 4096.
SHIFT_AT_256, SHIFT_PER_UNIT = 0.5, 0.65 / 3840


class ShiftLength(StrEnum):
    """What counts as the length of a picture when the schedule is shifted for its size."""

    #: Latent pixels / 256, as UNO's and USO's published sampling code has it; their pictures were made so.
    AUTHORS = "authors"
    #: Target tokens, as FLUX.1's reference code, diffusers and UNO's training script have it.
    TOKENS = "tokens"


def sigmas(*, width: int, height: int, steps: int, length: ShiftLength = ShiftLength.AUTHORS) -> tuple[float, ...]:
    """List the noise levels of every step.

    Args:
        width: of the picture in pixels; references never count.
        height: of the picture in pixels.
        steps: at least 1.
        length: which convention shifts the schedule.

    Returns:
        ``steps + 1`` falling values from 1 to 0, each exactly a float32.

    Raises:
        ValueError: for fewer than one step.

    Source: UNO and USO, published sampling code, 2025; checked by tests/golden/schedule.json.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    shift = math.exp(_log_shift(shift_length(width=width, height=height, length=length)))
    # The order of these float32 operations decides the last bit; time 0 makes the inner quotient infinite, so sigma 0.
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float32)
    levels: list[float] = (shift / (shift + (1 / times - 1))).tolist()
    return tuple(levels)


def shift_length(*, width: int, height: int, length: ShiftLength = ShiftLength.AUTHORS) -> int:
    """Measure a picture of the given pixels for the shift."""
    if length is ShiftLength.TOKENS:
        return -(-width // 16) * -(-height // 16)
    return (width // 8) * (height // 8) // 256


def _log_shift(length: int) -> float:
    return SHIFT_AT_256 + (length - 256) * SHIFT_PER_UNIT
