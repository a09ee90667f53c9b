"""Draws the bundled reference pictures: ``python -m deployments.pictures.draw`` writes them beside this file.

A mug is the subject to show again, waves are the style to take over. Both are ours, so anyone may use them.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

#: Pixels a side; drawn at four times that, so that edges come out smooth.
SIDE = 384
SCALE = 4
Colour = tuple[int, int, int]

SKY: Colour = (247, 233, 205)
TABLE: Colour = (222, 184, 140)
MUG: Colour = (196, 52, 44)
MUG_SHADE: Colour = (148, 30, 34)
MUG_SHINE: Colour = (236, 120, 100)
INSIDE: Colour = (74, 22, 22)
BAND: Colour = (250, 240, 220)
WAVES: tuple[Colour, ...] = (
    (9, 32, 63),
    (16, 62, 107),
    (24, 99, 148),
    (56, 143, 178),
    (122, 190, 200),
    (232, 238, 220),
)


def draw_mug() -> Image.Image:
    """Draw a red mug with a pale band on a table."""
    image = Image.new("RGB", (SIDE * SCALE, SIDE * SCALE), SKY)
    pen = ImageDraw.Draw(image)
    pen.rectangle(_scaled(0, 270, 384, 384), fill=TABLE)
    pen.ellipse(_scaled(70, 290, 330, 350), fill=(190, 150, 110))
    pen.ellipse(_scaled(228, 140, 330, 270), outline=MUG_SHADE, width=26 * SCALE)
    pen.rounded_rectangle(_scaled(90, 90, 260, 330), radius=30 * SCALE, fill=MUG)
    pen.rounded_rectangle(_scaled(210, 100, 260, 322), radius=24 * SCALE, fill=MUG_SHADE)
    pen.rounded_rectangle(_scaled(106, 126, 124, 300), radius=9 * SCALE, fill=MUG_SHINE)
    pen.rectangle(_scaled(90, 196, 260, 236), fill=BAND)
    pen.ellipse(_scaled(90, 68, 260, 118), fill=MUG_SHADE)
    pen.ellipse(_scaled(102, 76, 248, 110), fill=INSIDE)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def draw_waves() -> Image.Image:
    """Draw rows of rolling waves in blues, dark and light by turns, with pale crests."""
    side = SIDE * SCALE
    image = Image.new("RGB", (side, side), WAVES[-1])
    pen = ImageDraw.Draw(image)
    rows = 14
    for row in range(rows):
        top = side * row / rows
        crest = [(x, top + _swell(x / side, row) * side) for x in range(0, side + 1, 8)]
        pen.polygon([*crest, (side, side), (0, side)], fill=WAVES[(row * 5) % len(WAVES)])
        pen.line(crest, fill=WAVES[-1], width=3 * SCALE)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _scaled(*box: int) -> tuple[float, ...]:
    return tuple(float(edge * SCALE) for edge in box)


def _swell(x: float, row: int) -> float:
    """Return how far a wave stands below its row at ``x``; both in parts of the side."""
    return 0.03 * math.sin(2 * math.pi * (2.5 * x + row * 0.37)) + 0.012 * math.sin(2 * math.pi * (7 * x + row * 0.61))


def main() -> None:
    """Write both pictures."""
    folder = Path(__file__).parent
    draw_mug().save(folder / "mug.png", optimize=True)
    draw_waves().save(folder / "waves.png", optimize=True)


if __name__ == "__main__":
    main()
