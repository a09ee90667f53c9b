"""How long steps take on this very device, and those of one request on it, learned from those that were taken."""

from __future__ import annotations

from cachetools import LRUCache

from models.cost import CostTable
from models.resident import tokens_of
from models.sample import ShapeKey

#: Over how many steps it is averaged how fast this device is, and how long a step of one kind takes.
STEPS_REMEMBERED = 16
#: Of how many kinds of groups it is remembered how long their steps take.
KINDS_REMEMBERED = 512
#: As how many times as long as usual a step counts at most.
MOST_SLOWER = 4
#: As how many of a request's own steps it counts what is expected of it on this device: one that is slow for once may
#: not make it look late, and one that is slow for good is soon known.
EXPECTED_COUNTS = 2


class Pace:
    """Compares what steps take with what the cost table says.

    A step may be slow for once, because something is compiled or another program has the device; it is never fast for
    once. So one that is much slower than usual teaches little, and one that is much faster says that what was learned
    before it was wrong.
    """

    def __init__(self, costs: CostTable) -> None:
        """Know nothing but what the table says."""
        self._costs = costs
        self._factor = 0.0
        self._usual_s: LRUCache[tuple[ShapeKey, int], float] = LRUCache(KINDS_REMEMBERED)

    @property
    def factor(self) -> float:
        """How many times longer steps take here than in the table; 1 before the first."""
        return self._factor or 1.0

    def usual_s(self, shape: ShapeKey, *, count: int) -> float:
        """Return how long a step of such a group usually takes: as measured, or as it should; 0 before any step."""
        measured = self._usual_s.get((shape, count))
        return self._factor * self._table_s(shape, count) if measured is None else measured

    def learn(self, shape: ShapeKey, *, count: int, took_s: float) -> float:
        """Note how long a step of a group has taken; return as how many times longer than in the table it counts."""
        kind, expected_s = (shape, count), self.usual_s(shape, count=count) or took_s
        counted_s = min(took_s, MOST_SLOWER * expected_s)
        usual_s = self._usual_s.get(kind, counted_s)
        factor = counted_s / self._table_s(shape, count)
        if took_s * MOST_SLOWER < expected_s:
            self._usual_s[kind] = took_s
            self._factor = min(self._factor, factor)
            return factor
        self._usual_s[kind] = usual_s + (counted_s - usual_s) / STEPS_REMEMBERED
        self._factor += (factor - self._factor) / (STEPS_REMEMBERED if self._factor else 1)
        return factor

    def _table_s(self, shape: ShapeKey, count: int) -> float:
        return self._costs.step(tokens_of(shape), rows=shape.rows * count) / 1e3


class OwnPace:
    """How many times longer than in the table the steps of one request take, which says nothing of anybody else's.

    A step that several share is compared with what the table says of so many, so it tells of each of them.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._mean = 0.0
        self._steps = 0

    def learn(self, times: float) -> None:
        """Note as how many times longer than in the table a step of its counts."""
        was_wrong = times * MOST_SLOWER < self._mean
        self._steps = 1 if was_wrong else min(self._steps + 1, STEPS_REMEMBERED)
        self._mean += (times - self._mean) / self._steps

    def factor(self, expected: float) -> float:
        """Return how many times longer its steps take, where so much is expected of any on this device."""
        return (EXPECTED_COUNTS * expected + self._steps * self._mean) / (EXPECTED_COUNTS + self._steps)
