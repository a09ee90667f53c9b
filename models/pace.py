"""How long steps take on this very device, learned from those that it has taken."""

from __future__ import annotations

from cachetools import LRUCache

from models.cost import CostTable
from models.resident import tokens_of
from models.sample import ShapeKey

#: Over how many steps it is averaged how fast this device is, and how long a step of one kind takes.
STEPS_REMEMBERED = 16
#: Of how many kinds of groups it is remembered how long their steps take.
KINDS_REMEMBERED = 512


class Pace:
    """Compares what steps take with what the cost table says."""

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

    def learn(self, shape: ShapeKey, *, count: int, took_s: float) -> None:
        """Note how long a step of a group has taken."""
        kind = shape, count
        usual_s = self._usual_s.get(kind, took_s)
        self._usual_s[kind] = usual_s + (took_s - usual_s) / STEPS_REMEMBERED
        factor = took_s / self._table_s(shape, count)
        self._factor += (factor - self._factor) / (STEPS_REMEMBERED if self._factor else 1)

    def _table_s(self, shape: ShapeKey, count: int) -> float:
        return self._costs.step(tokens_of(shape), rows=shape.rows * count) / 1e3
