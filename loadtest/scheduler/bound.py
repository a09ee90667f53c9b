"""How many requests anybody could have ended in time on one device, knowing all that will come. Pure.

A set of requests can be in time together exactly if, for every span of time, the work of those that may only be done
within it fits into it: work may be interrupted at any moment, and first due first served then succeeds. Allowed to end
a fraction of a request for the same fraction of the credit, how many succeed is a linear goal over a polymatroid, the
amounts of work that fit; there the greedy way is optimal: shortest first, each as much as fits beside what was taken.
That is no less than what whole requests can reach, hence a bound. The requests that were taken whole on the same way
can be in time together, so the best order lies between the two.

Source: J. Edmonds, Submodular functions, matroids, and certain polyhedra, 1970, for the greedy way; M. L. Dertouzos,
1974, for first due first served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request that counts."""

    #: When it comes, in seconds.
    from_s: float
    #: When it is late.
    until_s: float
    #: Seconds of work, more than 0.
    work_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How many requests can be in time."""

    #: No order reaches more, fractions included.
    at_most: float
    #: One that knows the future reaches as many.
    at_least: int
    #: How many there are.
    of: int


def reach(claims: Sequence[Claim]) -> Reach:
    """Bound how many of some requests can be in time together on one device."""
    return Reach(at_most=_taken(claims, is_whole=False), at_least=round(_taken(claims, is_whole=True)), of=len(claims))


def _taken(claims: Sequence[Claim], *, is_whole: bool) -> float:
    """Take requests shortest first as far as they fit; whole ones alone, or each in part."""
    starts = np.array(sorted({each.from_s for each in claims}), dtype=np.float64)
    ends = np.array(sorted({each.until_s for each in claims}), dtype=np.float64)
    # What is free of the span from every start to every end; spans that end before they start hold nobody.
    free_s = ends[None, :] - starts[:, None]
    free_s[free_s <= 0] = np.inf
    taken = 0.0
    for each in sorted(claims, key=lambda one: one.work_s):
        around = free_s[: np.searchsorted(starts, each.from_s) + 1, np.searchsorted(ends, each.until_s) :]
        fits_s = max(min(float(around.min()), each.work_s), 0.0)
        # A hair less than all of it is a matter of rounding.
        if is_whole and fits_s < each.work_s * (1 - 1e-9):
            continue
        around -= fits_s
        taken += fits_s / each.work_s
    return taken
