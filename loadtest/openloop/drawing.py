"""Plots as SVG text, drawn here so that a report is one small file that opens without a network. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 38, 40
#: Height of a bar with its name, and of the bar alone.
_ROW, _BAR = 40, 12
#: Colours that people who cannot tell red from green can tell apart. Source: M. Okabe, K. Ito, Color Universal Design.
COLOURS = ("#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#999999")
#: In what time is told, with its seconds, up to how many seconds.
_UNITS = (("s", 1, 300.0), ("min", 60, 7200.0), ("h", 3600, math.inf))

#: The values of a line: None leaves a gap, and infinity stands at the upper edge.
Line = Sequence[float | None]


def line_plot(lines: Mapping[str, Line], *, at_s: Sequence[float], unit: str) -> str:
    """Draw lines over time; where some lie on one another, each is to be seen.

    Args:
        lines: the values of each line.
        at_s: where each value stands, in seconds.
        unit: what the vertical axis counts.
    """
    values = [value for line in lines.values() for value in line if value is not None]
    top = nice_ceiling(max(filter(math.isfinite, values), default=0.0))
    end_s = max([*at_s, 1e-9])
    drawn = [
        _line(name, [_point(at, value, end_s, top) for at, value in zip(at_s, line, strict=True)], number)
        for number, (name, line) in enumerate(lines.items())
    ]
    legend = _legend(list(lines), has_endless=math.inf in values)
    label = f"Lines over {end_s:.0f} s, {unit}: {', '.join(lines)}"
    # The first comes last and is the thinnest.
    return _framed([*_grid(top, unit), *_ticks(end_s), *reversed(drawn)], height=HEIGHT, label=label) + legend


def bar_plot(bars: Mapping[str, float | None], *, unit: str) -> str:
    """Draw one bar below another, each with its name and its value; infinity fills the width, None has no bar."""
    longest = max((value for value in bars.values() if value is not None and math.isfinite(value)), default=0.0)
    drawn = [_bar(name, value, longest or 1.0, 20 + _ROW * number) for number, (name, value) in enumerate(bars.items())]
    label = f"Bars, {unit}: {', '.join(f'{name} {_said(value)}' for name, value in bars.items())}"
    return _framed([f'<text x="4" y="14">{escape(unit)}</text>', *drawn], height=26 + _ROW * len(bars), label=label)


def nice_ceiling(value: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is no less; 1 for nothing."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))


def _point(at: float, value: float | None, end_s: float, top: float) -> tuple[float, float] | None:
    if value is None:
        return None
    return _LEFT + at / end_s * (WIDTH - _LEFT - _RIGHT), _height(value, top) if math.isfinite(value) else -math.inf


def _height(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM)


def _line(name: str, points: Sequence[tuple[float, float] | None], number: int) -> str:
    more = 2.0 * min(number, 2)
    path, dots, is_down = [], [], False
    for point in points:
        is_finite = point is not None and math.isfinite(point[1])
        if point is not None and is_finite:
            path.append(f"{'L' if is_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
            # A dot for each point, too: one without neighbours would be no line.
            dots.append(f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="{1.8 + more / 2:.1f}"/>')
        elif point is not None:
            dots.append(f'<path class="endless" d="M{point[0] - 4:.1f} {_TOP}h8l-4 -8z"/>')
        is_down = is_finite
    return (
        f'<g stroke="{COLOURS[number % 7]}" fill="{COLOURS[number % 7]}"><title>{escape(name)}</title>'
        f'<path fill="none" stroke-width="{1.6 + more:.1f}" d="{" ".join(path)}"/>{"".join(dots)}</g>'
    )


def _bar(name: str, value: float | None, longest: float, y: float) -> str:
    is_endless = value is not None and math.isinf(value)
    room, share = WIDTH - 2 * 4, 1.0 if is_endless else (value or 0.0) / longest
    return (
        f'<text x="4" y="{y + 18}">{escape(name)}</text>'
        f'<text x="{WIDTH - 4}" y="{y + 18}" text-anchor="end">{_said(value)}</text>'
        f'<rect class="room" x="4" y="{y + 24}" width="{room}" height="{_BAR}"/>'
        f'<rect x="4" y="{y + 24}" width="{room * share:.1f}" height="{_BAR}" '
        f'fill="{COLOURS[2] if is_endless else COLOURS[0]}"/>'
    )


def _said(value: float | None) -> str:
    if value is None:
        return "none"
    return "never ended" if math.isinf(value) else f"{value:.4g}"


def _grid(top: float, unit: str) -> list[str]:
    # Of 1, 2 and 5 times a power of ten, 2 alone is divided by 4 into round numbers; the others by 5.
    count = 4 if f"{top:e}".startswith("2") else 5
    marks = [top * number / count for number in range(count + 1)]
    return [
        f'<path class="grid" d="M{_LEFT} {_height(mark, top):.1f}H{WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{_height(mark, top) + 4:.1f}" text-anchor="end">{mark:g}</text>'
        for mark in marks
    ] + [f'<text x="4" y="14">{escape(unit)}</text>']


def _ticks(end_s: float) -> list[str]:
    name, seconds = next((name, seconds) for name, seconds, until in _UNITS if end_s <= until)
    step = nice_ceiling(end_s / seconds / 6)
    places = [number * step for number in range(int(end_s / seconds / step * (1 + 1e-9)) + 1)]
    return [
        f'<text x="{_LEFT + place * seconds / end_s * (WIDTH - _LEFT - _RIGHT):.1f}" y="{HEIGHT - 8}" '
        f'text-anchor="{"end" if place * seconds > end_s * 0.95 else "middle"}">{place:g} {name}</text>'
        for place in places
    ]


def _framed(drawn: Sequence[str], *, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'


def _legend(names: Sequence[str], *, has_endless: bool) -> str:
    marks = [f'<span style="color:{COLOURS[number % 7]}">●</span> {escape(name)}' for number, name in enumerate(names)]
    return f'<p class="legend">{" &nbsp; ".join([*marks, *["▲ never ended"] * has_endless])}</p>'
