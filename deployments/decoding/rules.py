"""Which pictures are taken, and why others are not. Pure; shared by the service and the processes that decode."""

from __future__ import annotations

from enum import IntEnum

from deployments.errors import UxoError

#: Most bytes of one file, as for every way in which a reference comes.
MAX_BYTES = 20 * 1024 * 1024
#: Most pixels of a picture; references are scaled to a few hundred pixels a side anyway.
MAX_PIXELS = 25_000_000
#: Shortest and longest side of a picture in pixels. Less than one token has nothing to say.
MIN_SIDE, MAX_SIDE = 16, 8_192
#: How many times as long as its shorter side the longer one may be.
MAX_ASPECT = 8


class Refusal(IntEnum):
    """Why a picture is not used; the number travels between processes."""

    #: None of the three kinds of files.
    UNKNOWN = 1
    #: Too many bytes.
    TOO_HEAVY = 2
    #: A side too short.
    TOO_SMALL = 3
    #: A side too long.
    TOO_LONG = 4
    #: Too many pixels.
    TOO_LARGE = 5
    #: Sides too different.
    TOO_THIN = 6
    #: Not what its head says, damaged or cut short.
    BROKEN = 7
    #: Whatever decodes it runs out of time or memory, or dies.
    TOO_COSTLY = 8


_WORDS = {
    Refusal.UNKNOWN: "is not a PNG, JPEG or WebP picture",
    Refusal.TOO_HEAVY: f"is larger than {MAX_BYTES // 1024**2} MiB",
    Refusal.TOO_SMALL: f"has a side of less than {MIN_SIDE} pixels",
    Refusal.TOO_LONG: f"is more than {MAX_SIDE} pixels long on one side",
    Refusal.TOO_LARGE: f"has more than {MAX_PIXELS // 1_000_000} megapixels",
    Refusal.TOO_THIN: f"is too long and thin: one side is more than {MAX_ASPECT} times the other",
    Refusal.BROKEN: "is a broken or incomplete picture file",
    Refusal.TOO_COSTLY: "takes too much time or memory to decode",
}


class PictureRefused(UxoError):
    """A picture cannot be used.

    Args:
        why: the reason; the message is a predicate, whoever knows which picture it was puts "reference 2" before it.
    """

    def __init__(self, why: Refusal) -> None:
        super().__init__(_WORDS[why])
        self.why = why


class NoDecoder(UxoError):
    """No process can be had that decodes pictures; it may be otherwise a little later."""


def refusal_of(width: int, height: int) -> Refusal | None:
    """Say why a picture of a size in pixels is not taken; None when it is."""
    short, long = sorted((width, height))
    if short < MIN_SIDE:
        return Refusal.TOO_SMALL
    if long > MAX_SIDE:
        return Refusal.TOO_LONG
    if long > MAX_ASPECT * short:
        return Refusal.TOO_THIN
    return Refusal.TOO_LARGE if width * height > MAX_PIXELS else None
