"""How many samples may share a call of the transformer: pure, told what was found out about them.

throughput   as many as there is room for, whatever comes of rounding
exact        only as many as were shown to come out as they do alone, to the last bit
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from models.sample import ShapeKey

#: Steps without want of memory after which a group that was halved grows by one, and as many as it ever takes.
STEPS_TO_GROW, MOST_STEPS_TO_GROW = 64, 16_384


class Mode(StrEnum):
    """What counts for more where strangers' pictures could share a call."""

    #: The bytes of a picture never depend on its neighbours.
    EXACT = "exact"
    #: Pictures of one shape share where it pays; their last bits then do depend on it.
    THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cap:
    """How many samples of a shape may share a call since there was no memory for more."""

    #: How many.
    most: int
    #: Steps of so many until one more is tried.
    needed: int
    #: Steps of so many that there was memory for.
    good: int = 0


class Sharing:
    """Knows for every shape how many share a call, and learns where that is too many."""

    def __init__(self, max_group: int, *, proven: Mapping[ShapeKey, int] | None = None) -> None:
        """Start from what was found out before any work.

        Args:
            max_group: how many share at most.
            proven: for every shape in how large a group its samples come out as they do alone; a power of two, and so
                they do in groups of every lower one. A shape that is not named steps alone. None: all share.
        """
        self._max_group = max_group
        self._proven = proven
        self._caps: dict[ShapeKey, _Cap] = {}

    @property
    def most(self) -> int:
        """How many share at most, of whatever shape."""
        return self._max_group if self._proven is None else min(max(self._proven.values(), default=1), self._max_group)

    def group_of(self, waiting: int, shape: ShapeKey) -> int:
        """Return how many of so many samples of a shape share the next call."""
        cap = self._caps.get(shape)
        room = min(waiting, self._max_group if cap is None else cap.most)
        if self._proven is None:
            return room
        # Matrix kernels are chosen by the size of a group, so what was shown of four says nothing of three.
        return _power_of_two(min(room, self._proven.get(shape, 1)))

    def halve(self, shape: ShapeKey, *, group: int) -> None:
        """Note that there was no memory for so large a group; each time it takes twice as long until it grows again."""
        before = self._caps.get(shape)
        needed = STEPS_TO_GROW if before is None else min(2 * before.needed, MOST_STEPS_TO_GROW)
        self._caps[shape] = _Cap(most=max(group // 2, 1), needed=needed)

    def succeed(self, shape: ShapeKey, *, group: int) -> None:
        """Note that there was memory for a group: after enough of the largest that may be, one more may share it."""
        cap = self._caps.get(shape)
        if cap is None or cap.most >= self._max_group or group < self.group_of(self._max_group, shape):
            return
        good = cap.good + 1
        is_over = good >= cap.needed
        self._caps[shape] = replace(cap, most=cap.most + is_over, good=0 if is_over else good)


def _power_of_two(most: int) -> int:
    return 1 << (most.bit_length() - 1)
