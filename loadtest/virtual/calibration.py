"""How a place differs from its cost table: what ``loadtest.plan_check`` measures and ``loadtest.plan`` believes.

Knows which table was measured beside, for a pace says nothing of another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Any

from loadtest.virtual.fleet_words import FleetWords
from loadtest.virtual.replica import Habits
from models.cost import USUAL_TABLE, CostTable, cost_table


class UnreadablePace(ValueError):
    """There is no measured pace to plan with; the message says why in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long work takes where it is measured, beside what the table says."""

    #: How many times as long the device takes.
    slower: float
    #: Seconds that an order takes beside the device.
    beside_s: float
    #: Seconds of the device that every order takes, whatever it asks for, and no table says.
    once_s: float = 0.0

    @property
    def deliver_s(self) -> float:
        """Return what is left of the seconds beside the device when the claim is told apart."""
        return max(self.beside_s - Habits().claim_s, 0.0)

    def in_company(self, device_s: float, took_s: float, *, load: float) -> Pace:
        """Return the pace beside others: between what it is alone and what it is in company, by how much there is.

        Args:
            device_s: seconds of a device that some orders need by the table.
            took_s: those that they took while every replica was busy.
            load: which share of the time replicas are busy; more than all of it is all of it.
        """
        return replace(self, slower=self.slower + min(load, 1.0) * (took_s / device_s - self.slower))


def hurried_costs(costs: CostTable, faster: float) -> CostTable:
    """Return the table of a device that is so many times as fast."""
    names = [field.name for field in fields(costs) if field.name.endswith("_ms")]
    return replace(costs, **{name: getattr(costs, name) / faster for name in names})


def paced_costs(costs: CostTable, *, slower: float, once_s: float) -> CostTable:
    """Return the table of a device of some pace; what every order takes counts with its prompt."""
    hurried = hurried_costs(costs, 1 / slower)
    return replace(hurried, text_ms=hurried.text_ms + once_s * 1e3)


def calibrated(words: FleetWords, costs: CostTable) -> FleetWords:
    """Return a fleet as fast as the file that it names has measured; what is said in words goes before.

    Args:
        words: the fleet; without ``like`` it stays as it is.
        costs: the table that is planned with, which has to be the one that was measured against.

    Raises:
        UnreadablePace: when the file has no pace, or one of another table.
    """
    if not words.like:
        return words
    pace = read_pace(Path(words.like), costs)
    measured = {"pace": pace.slower, "once": pace.once_s, "deliver": pace.deliver_s}
    return words.model_copy(
        update={name: value for name, value in measured.items() if name not in words.model_fields_set}
    )


def read_pace(path: Path, costs: CostTable) -> Pace:
    """Read what ``loadtest.plan_check`` measured.

    Raises:
        UnreadablePace: when there is none, or it is one of another table.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        pace = Pace(**{name: float(value) for name, value in found["pace"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadablePace(f"{path}: no pace can be read there; loadtest.plan_check writes one") from error
    if not (0 < pace.slower < inf and 0 <= pace.beside_s < inf and 0 <= pace.once_s < inf):
        raise UnreadablePace(
            f"{path}: nothing works at a pace of {pace.slower}, {pace.once_s} s an order and {pace.beside_s} s beside"
        )
    measured = _table_of(found)
    if measured != costs.device:
        raise UnreadablePace(f"{path} was measured beside the table of {measured!r}, and this one is {costs.device!r}")
    return pace


def _table_of(found: Mapping[str, Any]) -> str:
    # Before the table was noted there was only one.
    return str(found.get("costs", cost_table(USUAL_TABLE).device))
