"""What is shown of a virtual fleet is what happened to it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from loadtest.virtual.lived import Lived, Moment
from loadtest.virtual.outcome import POINTS, series

#: Seconds of work and of the quiet after it, in which no look was taken.
WORK_S, QUIET_S = 1000, 100_000


def lived(moments: list[Moment]) -> Lived:
    """Make a story of its looks alone."""
    seconds = dict.fromkeys(("span_s", "taken_s", "up_s", "busy_s", "holding_s"), 1.0)
    return Lived(fates=[], moments=moments, asked=Counter(), **seconds)


def test_a_quiet_without_looks_is_drawn_as_quiet() -> None:
    """Work that had ended before a gap in the looks is not drawn through it, and the last look is the last point."""
    busy = [Moment(at_s=at_s, queued=9, running=3, up=4, target=4) for at_s in range(WORK_S)]
    ends = [Moment(at_s=at_s, queued=0, running=0, up=4, target=4) for at_s in (WORK_S, WORK_S + QUIET_S)]

    drawn = series(lived([*busy, *ends]))

    between = list(zip(drawn["at_s"], drawn["queued"], strict=True))[3:]
    assert len(drawn["at_s"]) == POINTS
    assert [queued for _, queued in between] == [0] * len(between)
    assert drawn["at_s"][-1] == WORK_S + QUIET_S
    assert all(one < other for one, other in pairwise(drawn["at_s"]))


def test_a_story_of_one_look_is_one_point() -> None:
    """What was looked at once, or never, is drawn as it is."""
    look = Moment(at_s=0.0, queued=1, running=0, up=0, target=1)

    assert series(lived([look]))["queued"] == [1]
    assert series(lived([]))["at_s"] == []
