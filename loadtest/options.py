"""What the commands of the load test check of their options alike."""

from __future__ import annotations

import math

import typer


def finite(value: float) -> float:
    """Return a number that may be reckoned with; infinity is within every bound that has no end, and NaN within all.

    Raises:
        typer.BadParameter: for a number that is none of these.
    """
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number of anything")
    return value
