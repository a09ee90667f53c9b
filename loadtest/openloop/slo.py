"""What a load has to meet, such as ``p95=20s,errors=0.1%``, and whether it did. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.figures import percentile
from loadtest.openloop.record import End, Record

_TERM = re.compile(r"(?:p(?P<rank>\d{1,2}(?:\.\d+)?)=(?P<time>\d+(?:\.\d+)?)(?P<unit>ms|s))|errors=(?P<share>[\d.]+)%")


class UnreadableSlo(ValueError):
    """The text names no goal; the message says which part is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One thing that has to hold."""

    #: As it was written.
    text: str
    #: Which percentile of the latencies, in (0, 1]; None means the share of errors.
    rank: float | None
    #: Seconds, or a share in [0, 1].
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether one goal was met."""

    #: The goal.
    goal: Goal
    #: What was found, in the goal's unit; infinite where orders never ended.
    found: float

    @property
    def is_met(self) -> bool:
        """Whether what was found is within the limit."""
        return self.found <= self.goal.limit

    def __str__(self) -> str:
        """Say it in a line."""
        if math.isinf(self.found):
            return f"missed: {self.goal.text}, too few succeeded"
        found = f"{self.found:.2f} s" if self.goal.rank is not None else f"{self.found:.2%}"
        return f"{'met' if self.is_met else 'missed'}: {self.goal.text}, found {found}"


def parse_slo(text: str) -> list[Goal]:
    """Read goals that are set apart by commas; an empty text has none.

    Raises:
        UnreadableSlo: when a part is no goal.
    """
    return [_goal(part.strip()) for part in text.split(",") if part.strip()]


def parse_needed_slo(text: str) -> list[Goal]:
    """Read goals, of which there has to be one: without any, every rate is carried and every fleet large enough.

    Raises:
        UnreadableSlo: when a part is no goal, or there is none.
    """
    if goals := parse_slo(text):
        return goals
    raise UnreadableSlo("nothing can be looked for without a goal; write --slo p95=20s,errors=0.1%")


def verdicts(goals: Sequence[Goal], records: Sequence[Record]) -> list[Verdict]:
    """Judge what became of a load. A load without a single order meets nothing."""
    latencies = sorted(latencies_of(records))
    return [
        Verdict(
            goal=goal,
            found=error_share(records)
            if goal.rank is None
            else (percentile(latencies, goal.rank) if latencies else math.inf),
        )
        for goal in goals
    ]


def latencies_of(records: Sequence[Record]) -> list[float]:
    """Return seconds from due time to picture. What should have ended and never did counts as infinite.

    Left out are bad orders, those taken back, those under way when the load was stopped, and those that failed or were
    refused: these are errors, and quick ones must not make a server look fast.
    """
    wanted = [record for record in records if not record.order.is_bad]
    ended = [record.latency_s for record in wanted if record.end is End.SUCCEEDED and record.latency_s is not None]
    endless = sum(record.end in {End.UNFINISHED, End.LOST, End.UNANSWERED} for record in wanted)
    return [*ended, *[math.inf] * endless]


def error_share(records: Sequence[Record]) -> float:
    """Return how many of the orders that have an end did not become what they should have."""
    ended = [record for record in records if record.end is not End.IN_FLIGHT]
    return sum(record.is_error for record in ended) / len(ended) if ended else 1.0


def _goal(part: str) -> Goal:
    found = _TERM.fullmatch(part)
    if found is None:
        raise UnreadableSlo(f"{part!r} is no goal; write p95=20s, p50=800ms or errors=0.1%, with commas between")
    if found["rank"]:
        seconds = float(found["time"]) / (1000 if found["unit"] == "ms" else 1)
        return Goal(text=part, rank=float(found["rank"]) / 100 or 1e-9, limit=seconds)
    try:
        return Goal(text=part, rank=None, limit=float(found["share"]) / 100)
    except ValueError as error:
        raise UnreadableSlo(f"{part!r}: no number") from error
