"""How slowdowns grow with the load, in every order, as one SVG that needs nothing else. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from loadtest.openloop.drawing import COLOURS

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 300, 44, 220, 24, 36
#: Where the vertical axis ends and has its lines; it is logarithmic.
MARKS = (1, 2, 5, 10, 20, 50, 100)
#: The traces whose loads are compared.
KIND = "Poisson, load "


def slowdown_by_load(traces: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw the 95th percentile of the slowdowns over the load, a line for each order."""
    points = [trace for name, trace in traces.items() if name.startswith(KIND) and "off" not in name]
    loads = [trace["load"] for trace in points]
    lines = {
        order: [(_across(trace["load"], loads), _up(trace["orders"][order]["slowdown_p95"])) for trace in points]
        for order in points[0]["orders"]
    }
    grid = [*map(_mark, MARKS), *(_load(each, loads) for each in loads)]
    drawn = [_line(order, line, number) for number, (order, line) in enumerate(lines.items())]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text x="4" y="14">p95 slowdown</text>'
        f"{''.join([*grid, *drawn])}</svg>\n"
    )


def _across(load: float, loads: Sequence[float]) -> float:
    span = max(loads) - min(loads) or 1.0
    return LEFT + 20 + (load - min(loads)) / span * (WIDTH - LEFT - RIGHT - 40)


def _up(value: float) -> float:
    share = math.log(min(max(value, MARKS[0]), MARKS[-1])) / math.log(MARKS[-1])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _mark(value: float) -> str:
    y = _up(value)
    return (
        f'<path stroke="#ddd" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>'
    )


def _load(load: float, loads: Sequence[float]) -> str:
    return f'<text x="{_across(load, loads):.1f}" y="{HEIGHT - 14}" text-anchor="middle">load {load:g}</text>'


def _line(name: str, points: Sequence[tuple[float, float]], number: int) -> str:
    colour = COLOURS[number % len(COLOURS)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
    return (
        f'<g fill="{colour}"><path fill="none" stroke="{colour}" stroke-width="1.8" d="M{path}"/>{dots}'
        f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 18 * (number + 1)}">● {escape(name)}</text></g>'
    )
