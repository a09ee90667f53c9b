"""The search for the highest rate that a server carries: bracket, bisect, and doubt. Pure but for what it is given.

start ─► met ─► double … ─► missed          a bracket: carried below, not carried above
                             └─► the middle, the middle … ─► the two are near enough ─► both ends again ─► found

One look may be luck, good or bad: each end of what is settled was seen twice, or by two looks of three.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

#: Rates beyond which nothing is looked for, per second.
LOWEST, HIGHEST = 0.01, 10_000.0
#: How often an end may turn out to be luck before the search takes what it has; a server so restless has no capacity.
DOUBTS = 4

#: Runs a load at a rate and says whether every goal was met; the number tells runs at one rate apart.
Carries = Callable[[float, int], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """Between which rates the answer lies."""

    #: The highest rate that was carried; 0 where none was.
    carried: float
    #: The lowest rate that was not; infinite where all were.
    missed: float
    #: Whether both ends were seen twice, or by two looks of three, or there is no end to see twice.
    is_settled: bool = False
    #: Whether the generator itself was late at the rate that was missed.
    is_late: bool = False
    #: Whether the search was ended before it came to an end of its own.
    is_cut: bool = False

    @property
    def is_narrow(self) -> bool:
        """Whether the ends are within 5 % of one another."""
        return self.missed <= self.carried * 1.05

    @property
    def doubt(self) -> str:
        """What is to be said behind the figures where they are not to be believed; empty where they are."""
        doubts = {
            "not settled: the search was ended before its end": self.is_cut,
            "not settled: looks at one rate contradicted each other to the end": not (self.is_settled or self.is_cut),
            "the generator itself was late at the rate that was missed, so the server may carry more": self.is_late,
        }
        return "".join(f"; {doubt}" for doubt, is_there in doubts.items() if is_there)


async def highest_rate(carries: Carries, *, start: float) -> Bracket:
    """Find the highest rate that is carried, and one 5 % above that is not; 0 where even the lowest is not.

    Of a server that contradicts itself again and again it returns what was seen last, which is not settled.

    Args:
        carries: asks for a rate.
        start: a guess, per second.
    """
    found = await _bracketed(carries, start)
    for _ in range(DOUBTS):
        if found.carried == 0 or math.isinf(found.missed):
            return replace(found, is_settled=True)
        found = await _bisected(carries, found)
        if not await _is_still_carried(carries, found.carried, seen=True):
            found = await _bracketed(carries, found.carried / 1.1, missed=found.carried)
        elif await _is_still_carried(carries, found.missed, seen=False):
            found = await _bracketed(carries, found.missed * 1.1, carried=found.missed)
        else:
            return replace(found, is_settled=True)
    return found


def bracket_of(looks: Iterable[tuple[float, bool]]) -> Bracket:
    """Return what looks that came to no end say: where they differ, the last one at a rate counts, and the lower rate.

    Args:
        looks: rates, each with whether it was carried, in the order in which they were looked at.
    """
    last = dict(looks)
    missed = min((rate for rate, is_carried in last.items() if not is_carried), default=math.inf)
    carried = max((rate for rate, is_carried in last.items() if is_carried and rate < missed), default=0.0)
    return Bracket(carried=carried, missed=missed, is_cut=True)


async def _is_still_carried(carries: Carries, rate: float, *, seen: bool) -> bool:
    """Look again with other draws, and where that contradicts what was seen, once more."""
    again = await carries(rate, 1)
    return again if again == seen else await carries(rate, 2)


async def _bracketed(carries: Carries, start: float, *, carried: float = 0.0, missed: float = math.inf) -> Bracket:
    rate, found = start, Bracket(carried=carried, missed=missed)
    while LOWEST <= rate <= HIGHEST and (found.carried == 0 or math.isinf(found.missed)):
        if await carries(rate, 0):
            found, rate = Bracket(carried=rate, missed=found.missed), rate * 2
        else:
            found, rate = Bracket(carried=found.carried, missed=rate), rate / 2
    return found


async def _bisected(carries: Carries, found: Bracket) -> Bracket:
    while not found.is_narrow:
        middle = math.sqrt(found.carried * found.missed)
        if await carries(middle, 0):
            found = Bracket(carried=middle, missed=found.missed)
        else:
            found = Bracket(carried=found.carried, missed=middle)
    return found
