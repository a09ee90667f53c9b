"""Chance that can be repeated: every choice of a run comes from one seed."""

from __future__ import annotations

from random import Random


def dice(seed: int) -> Random:
    """Return a source of chance; the same seed gives the same throws."""
    return Random(seed)  # noqa: S311 -- it chooses victims, not keys
