"""How long each part of the command should take on an H100, by the cost table: the plan that is printed before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from loadtest.gpu.geometry import GROUPS, SHAPES, Shape
from models.cost import TEXT_TOKENS, cost_table

#: How many times as long as in the table a step takes. Diffusers' own: twice, by published figures of eager steps.
SLOWER: Mapping[str, float] = MappingProxyType(
    {"diffusers, eager": 2.0, "ours, exact": 1.3, "ours, compiled": 1.0, "ours, compiled, FP8": 0.8}
)
#: Seconds of compiling a system's blocks, and of what has no steps: weights, ceilings, encoders. Guesses.
COMPILING_S, WEIGHTS_S, CEILINGS_S, ENCODERS_S = 80.0, 20.0, 20.0, 15.0


def plan(*, steps: int, rounds: int) -> Iterator[tuple[str, float]]:
    """Yield every part and the seconds that it should take.

    Args:
        steps: of a picture, with those before it.
        rounds: steps of a group.
    """
    yield "ceilings", CEILINGS_S
    yield "weights", WEIGHTS_S
    for system, slower in SLOWER.items():
        if "compiled" in system:
            yield f"compiling {system}", COMPILING_S
        for shape in SHAPES:
            yield f"{system}, {shape.name}", steps * slower * step_s(shape)
    for shape, count in GROUPS:
        yield f"groups, {count} of {shape.name}", rounds * SLOWER["ours, exact"] * step_s(shape, rows=count)
    yield "encoders", ENCODERS_S


def step_s(shape: Shape, *, rows: int = 1) -> float:
    """Return the seconds of a step, by the cost table."""
    of_picture = shape.grid[0] * shape.grid[1]
    of_references = sum(height * width for height, width in shape.reference_grids)
    return cost_table().step(TEXT_TOKENS + of_picture + of_references, rows=rows) / 1e3
