"""From what became of the wishes to the figures of one server at one rate. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.figures import percentile
from loadtest.peers.offering import Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the server used meanwhile."""

    #: User and system seconds of its whole process tree, less what it uses when nobody calls.
    cpu_s: float
    #: Cores that it uses when nobody calls.
    idle_cores: float
    #: Sizes of the calls of the model.
    groups: Sequence[int]
    #: The machine's one-minute load before the first wish.
    load_average: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One server at one rate. Innocent is what is not poisoned."""

    #: Its name.
    peer: str
    #: What was asked for, as a share of what the model can do in full groups of one shape.
    load: float
    #: Wishes per second that were offered.
    offered_per_s: float
    #: Wishes, and how many of them were poisoned.
    wishes: int
    #: The poisoned ones.
    poisoned: int
    #: Innocent wishes per second that were answered well and in time.
    goodput_per_s: float
    #: Which part of the innocent wishes that is.
    goodput: float
    #: Median latency of the innocent ones that were answered well; None when there was none.
    p50_ms: float | None
    #: What 95 of 100 of those stay below.
    p95_ms: float | None
    #: What 99 of 100 of those stay below.
    p99_ms: float | None
    #: Innocent wishes that were answered with an error, which is never their own.
    failed_neighbours: int
    #: Innocent wishes that were turned away for want of room or time.
    turned_away: int
    #: Innocent wishes without an answer.
    unanswered: int
    #: Poisoned wishes that were answered well, which cannot be.
    poisoned_and_good: int
    #: Wishes in a call of the model, on average; None when it was never called.
    group: float | None
    #: CPU milliseconds for each wish that was answered well; None when none was.
    cpu_ms: float | None
    #: Cores that the server uses when nobody calls.
    idle_cores: float
    #: What 99 of 100 wishes were sent late by: the load's own fault.
    late_p99_ms: float
    #: The machine's one-minute load before the first wish, what the server's warm-up left of it included.
    load_average: float

    def to_json(self) -> dict[str, Any]:
        """Return what is written to the file."""
        return asdict(self)


def found(told: Sequence[Told], cost: Cost, *, peer: str, load: float, slo_s: float, seconds: float) -> Finding:
    """Count what became of at least one wish.

    Args:
        told: what became of each.
        cost: what the server used.
        peer: its name.
        load: what was asked for, as a share of what can be done.
        slo_s: seconds within which an answer is in time.
        seconds: how long wishes came.
    """
    innocent = [each for each in told if not each.wish.is_poisoned]
    good = [each for each in innocent if each.is_good]
    in_time = sum(each.latency_s <= slo_s for each in good)
    latencies_ms = [each.latency_s * 1000 for each in good]
    return Finding(
        peer=peer,
        load=load,
        offered_per_s=round(len(told) / seconds, 1),
        wishes=len(told),
        poisoned=len(told) - len(innocent),
        goodput_per_s=round(in_time / seconds, 1),
        goodput=round(in_time / max(len(innocent), 1), 4),
        p50_ms=_rank(latencies_ms, 0.50),
        p95_ms=_rank(latencies_ms, 0.95),
        p99_ms=_rank(latencies_ms, 0.99),
        failed_neighbours=sum(each.has_failed for each in innocent),
        turned_away=sum(each.is_busy for each in innocent),
        unanswered=sum(each.status is None for each in innocent),
        poisoned_and_good=sum(each.is_good for each in told if each.wish.is_poisoned),
        group=round(sum(cost.groups) / len(cost.groups), 2) if cost.groups else None,
        cpu_ms=round(cost.cpu_s * 1000 / len(good), 2) if good else None,
        idle_cores=round(cost.idle_cores, 3),
        late_p99_ms=round(percentile([each.late_s * 1000 for each in told], 0.99), 1),
        load_average=round(cost.load_average, 2),
    )


def _rank(latencies_ms: Sequence[float], share: float) -> float | None:
    return round(percentile(latencies_ms, share), 1) if latencies_ms else None
