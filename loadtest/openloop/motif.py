"""What pictures of a load are to show: a prompt and reference pictures for every motif, drawn from its number. Pure.

A server keeps what it encoded for a while, so a load of one prompt and one picture would find it as fast as no other.
"""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from PIL import Image

from loadtest.openloop.order import Order

#: Which share of orders shows what their tenant's order before, or one not long before, has shown. An assumption.
REPEATS = 0.3
#: How many of a tenant's last motifs come again.
REMEMBERED = 20
#: Pixels a side of a reference picture, and squares a side, each in a colour of its own.
SIDE, SQUARES = 64, 4
_WHO = (
    "two mugs",
    "a cat",
    "an old radio",
    "a paper boat",
    "three pears",
    "a red bicycle",
    "a robot",
    "a wooden chair",
)
_WHERE = ("on a table", "in the snow", "at the sea", "under a bridge", "in a kitchen", "on the moon", "in tall grass")
_LIGHT = ("at dawn", "at noon", "by candle light", "in fog", "under neon signs", "in the rain", "at dusk")
_STYLE = ("as a photograph", "as an etching", "in oil", "in watercolour", "as a poster", "as a sketch", "in clay")


def varied(orders: Sequence[Order], *, repeats: float, seed: str) -> list[Order]:
    """Give every order a seed, and a motif of its own or one that its tenant had not long before.

    Args:
        orders: by due time.
        repeats: how many of all orders have one that was there before.
        seed: everything is drawn from it.
    """
    draw = random.Random(seed)  # noqa: S311 -- a load, not a secret
    before: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
    given = []
    for order in orders:
        known, is_repeat = before[order.tenant], draw.random() < repeats
        motif = draw.choice(known) if known and is_repeat else draw.getrandbits(48)
        known.append(motif)
        given.append(replace(order, motif=motif, seed=draw.getrandbits(31)))
    return given


def prompt_of(motif: int) -> str:
    """Return the prompt of a motif; its number makes it one of its own."""
    draw = random.Random(motif)  # noqa: S311 -- as above
    return f"{' '.join(draw.choice(words) for words in (_WHO, _WHERE, _LIGHT, _STYLE))}, number {motif}"


def pictures_of(motif: int, count: int) -> list[str]:
    """Return the reference pictures of a motif as data URIs, no two alike: coloured squares."""
    draw = random.Random(motif)  # noqa: S311 -- as above
    before, after = _picture()
    # Drawn once and coloured each time: to draw each anew would make the load late.
    colours = (b"PLTE" + draw.randbytes(3 * SQUARES**2) for _ in range(count))
    files = (before + each + struct.pack(">I", zlib.crc32(each)) + after for each in colours)
    return ["data:image/png;base64," + base64.b64encode(file).decode("ascii") for file in files]


@cache
def _picture() -> tuple[bytes, bytes]:
    """Draw the squares; return what is in the file before the name of its palette, and behind the palette's check."""
    squares = Image.frombytes("P", (SQUARES, SQUARES), bytes(range(SQUARES**2)))
    squares.putpalette(bytes(3 * SQUARES**2))
    file = io.BytesIO()
    squares.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(file, format="PNG")
    before, _, after = file.getvalue().partition(b"PLTE")
    return before, after[3 * SQUARES**2 + 4 :]
