"""Plots as SVG text, drawn here so that a report is one small file that opens without a network. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 26, 30
#: Colours that people who cannot tell red from green can tell apart. Source: M. Okabe, K. Ito, Color Universal Design.
COLOURS = ("#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#999999")

Line = Sequence[float | None]


def line_plot(lines: Mapping[str, Line], *, at_s: Sequence[float], unit: str) -> str:
    """Draw lines over time.

    Args:
        lines: the values of each line; None leaves a gap.
        at_s: where each value stands, in seconds.
        unit: what the vertical axis counts.
    """
    top = nice_ceiling(max((value for line in lines.values() for value in line if value is not None), default=0.0))
    end_s = max([*at_s, 1e-9])
    drawn = [
        _line(name, [_point(at, value, end_s, top) for at, value in zip(at_s, line, strict=True)], COLOURS[number % 7])
        for number, (name, line) in enumerate(lines.items())
    ]
    return _framed([*_grid(top, unit), *_ticks(end_s), *drawn]) + _legend(list(lines))


def bar_plot(bars: Mapping[str, float], *, unit: str) -> str:
    """Draw one bar for each name, from left to right."""
    top = nice_ceiling(max(bars.values(), default=0.0))
    room = (WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    drawn = [_bar(name, value, top, _LEFT + room * number, room) for number, (name, value) in enumerate(bars.items())]
    return _framed([*_grid(top, unit), *drawn])


def nice_ceiling(value: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is no less; 1 for nothing."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))


def _point(at: float, value: float | None, end_s: float, top: float) -> tuple[float, float] | None:
    if value is None:
        return None
    return _LEFT + at / end_s * (WIDTH - _LEFT - _RIGHT), _height(value, top)


def _height(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM)


def _line(name: str, points: Sequence[tuple[float, float] | None], colour: str) -> str:
    path, is_down = [], False
    for point in points:
        if point is not None:
            path.append(f"{'L' if is_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        is_down = point is not None
    # A dot for each point, too: one without neighbours would be no line.
    dots = "".join(f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="1.8"/>' for point in points if point)
    return (
        f'<g stroke="{colour}" fill="{colour}"><title>{escape(name)}</title>'
        f'<path fill="none" stroke-width="1.6" d="{" ".join(path)}"/>{dots}</g>'
    )


def _bar(name: str, value: float, top: float, left: float, room: float) -> str:
    y, middle = _height(value, top), left + room / 2
    return (
        f'<rect x="{left + room * 0.15:.1f}" y="{y:.1f}" width="{room * 0.7:.1f}" '
        f'height="{HEIGHT - _BOTTOM - y:.1f}" fill="{COLOURS[0]}"><title>{escape(name)}: {value:g}</title></rect>'
        f'<text x="{middle:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(name[: max(int(room / 7), 3)])}</text>'
        f'<text x="{middle:.1f}" y="{y - 3:.1f}" text-anchor="middle">{value:.3g}</text>'
    )


def _grid(top: float, unit: str) -> list[str]:
    return [
        f'<path class="grid" d="M{_LEFT} {_height(top * part, top):.1f}H{WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{_height(top * part, top) + 4:.1f}" text-anchor="end">{top * part:g}</text>'
        for part in (0, 0.25, 0.5, 0.75, 1)
    ] + [f'<text x="4" y="12">{escape(unit)}</text>']


def _ticks(end_s: float) -> list[str]:
    return [
        f'<text x="{_LEFT + part * (WIDTH - _LEFT - _RIGHT):.1f}" y="{HEIGHT - 10}" '
        f'text-anchor="{"end" if part == 1 else "middle"}">{end_s * part:.3g} s</text>'
        for part in (0, 0.25, 0.5, 0.75, 1)
    ]


def _framed(drawn: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(drawn)}</svg>'


def _legend(names: Sequence[str]) -> str:
    marks = (f'<span style="color:{COLOURS[number % 7]}">●</span> {escape(name)}' for number, name in enumerate(names))
    return f'<p class="legend">{" &nbsp; ".join(marks)}</p>'
