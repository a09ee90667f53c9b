"""From records to the figures of a report: one mapping that is written as JSON and drawn as pages. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from loadtest.figures import evenness, percentile
from loadtest.openloop.ledger import Ledger
from loadtest.openloop.record import End, Record, after
from loadtest.openloop.slo import Verdict, error_share, latencies_of

#: Points in time that a plot shows: more where there are orders for them, or a percentile would be that of one order;
#: they are a second apart at least.
POINTS, LEAST_POINTS, ORDERS_OF_A_POINT = 60, 20, 10
RANKS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def findings(
    records: Sequence[Record],
    *,
    wall_s: float,
    not_sent: int,
    ledger: Ledger,
    verdicts: Sequence[Verdict],
    warm_up_s: float = 0.0,
) -> dict[str, Any]:
    """Return everything that a report says of a load; ledger, calls and series are of the warm-up, too."""
    judged = after(warm_up_s, records)
    tenants = by_tenant(judged)
    return {
        "orders": len(judged),
        "not_sent": not_sent,
        "warm_up": {"seconds": warm_up_s, "orders": len(records) - len(judged)},
        "wall_s": round(wall_s, 3),
        "offered_per_s": _rate(len(judged), max((each.order.at_s for each in judged), default=warm_up_s) - warm_up_s),
        "succeeded_per_s": _rate(_count(judged, End.SUCCEEDED), max(wall_s - warm_up_s, 0.0)),
        "calls_per_s": _rate(sum(1 + each.reads for each in records), wall_s),
        "latency_s": percentiles(latencies_of(judged)),
        "endless": endless(judged),
        "lateness_s": percentiles([each.lateness_s for each in judged]),
        "error_share": round(error_share(judged), 6) if judged else None,
        "ends": dict(Counter(map(_end_of, judged))),
        "errors": dict(Counter(kind_of(each) for each in judged if each.is_error).most_common()),
        "error_samples": error_samples(judged),
        "tenants": tenants,
        "fairness": fairness(tenants),
        "ledger": asdict(ledger) | {"is_sound": ledger.is_sound, "text": str(ledger)},
        "slo": [
            {"goal": each.goal.text, "found": _finite(each.found), "is_met": each.is_met, "text": str(each)}
            for each in verdicts
        ],
        "series": series(records, wall_s=wall_s),
    }


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return the usual percentiles and the largest value; None where there is none, or where it never ended."""
    if not values:
        return dict.fromkeys((*RANKS, "max"))
    return {**{name: _finite(percentile(values, rank)) for name, rank in RANKS.items()}, "max": _finite(max(values))}


def kind_of(record: Record) -> str:
    """Return under which words an error is counted."""
    return record.error or str(record.end)


def error_samples(records: Sequence[Record]) -> dict[str, str]:
    """Return what the server said when each kind of error first came, in its own words; nothing where it said none."""
    samples: dict[str, str] = {}
    for record in records:
        if record.is_error and record.message:
            samples.setdefault(kind_of(record), record.message)
    return samples


def endless(records: Sequence[Record]) -> int:
    """Count the orders that should have ended and never did."""
    return sum(math.isinf(latency) for latency in latencies_of(records))


def by_tenant(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Return the figures of each tenant, sorted by name."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.order.tenant, []).append(record)
    return {tenant: _figures(groups[tenant]) for tenant in sorted(groups)}


def fairness(tenants: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Return Jain's index over the tenants' median latencies: 1 when all wait alike, 1/n when one waits for all."""
    waits = tenants.values()
    known = [each["p50"] for each in waits if each["p50"]]
    # Beside a wait without end all others are as nothing: the index is the share of those who wait so.
    if stuck := sum(each["p50"] is None and bool(each["endless"]) for each in waits):
        return round(stuck / (stuck + len(known)), 4)
    return round(evenness(known), 4) if known else None


def series(records: Sequence[Record], *, wall_s: float) -> dict[str, Any]:
    """Return what happened in each span of time; latencies stand where their orders were due, not where they ended."""
    points = min(max(len(records) // ORDERS_OF_A_POINT, LEAST_POINTS), POINTS)
    width_s = max(wall_s / points, 1.0)
    spans = range(max(math.ceil(wall_s / width_s), 1))
    by_due = _grouped(records, [each.order.at_s for each in records], width_s)
    ended = [each for each in records if each.end is End.SUCCEEDED]
    by_end = _grouped(ended, [each.ended_s or 0.0 for each in ended], width_s)
    latencies = [percentiles(latencies_of(by_due.get(span, []))) for span in spans]
    kinds = sorted({kind_of(each) for each in records if each.is_error})
    return {
        "width_s": width_s,
        "at_s": [round(span * width_s, 3) for span in spans],
        "due_per_s": [len(by_due.get(span, [])) / width_s for span in spans],
        "succeeded_per_s": [len(by_end.get(span, [])) / width_s for span in spans],
        **{name: [each[name] for each in latencies] for name in RANKS},
        "endless": [endless(by_due.get(span, [])) for span in spans],
        "begins_seen": begins_seen(records),
        "queue_age_s": queue_ages(records, [span * width_s for span in spans]),
        "errors": {
            kind: [sum(each.is_error and kind_of(each) == kind for each in by_due.get(span, [])) for span in spans]
            for kind in kinds
        },
    }


def begins_seen(records: Sequence[Record]) -> float | None:
    """Return the share of ended orders that were seen to be worked on before their end; webhooks tell of ends alone."""
    ended = [each for each in records if each.started_s is not None and each.ended_s is not None]
    return round(sum(each.started_s != each.ended_s for each in ended) / len(ended), 4) if ended else None


def queue_ages(records: Sequence[Record], moments: Sequence[float]) -> list[float]:
    """Return, for each moment, for how long the oldest accepted order that nothing was seen of has been due.

    Where few orders were seen to be worked on (``begins_seen``), that is the oldest one without an end.
    """
    waits = [
        (each.accepted_s, math.inf if each.started_s is None else each.started_s, each.order.at_s)
        for each in records
        if each.accepted_s is not None
    ]
    return [
        max((moment - due for accepted, started, due in waits if accepted <= moment < started), default=0.0)
        for moment in moments
    ]


def _figures(own: Sequence[Record]) -> dict[str, Any]:
    return {
        "orders": len(own),
        "succeeded": _count(own, End.SUCCEEDED),
        "errors": sum(each.is_error for each in own),
        "endless": endless(own),
        **percentiles(latencies_of(own)),
    }


def _end_of(record: Record) -> str:
    """Say what became of an order; bad ones that fail are as they should be, and no failures."""
    return "rejected once accepted" if record.order.is_bad and record.end is End.FAILED else str(record.end)


def _grouped(records: Sequence[Record], moments: Sequence[float], width_s: float) -> Mapping[int, Sequence[Record]]:
    groups: dict[int, list[Record]] = {}
    for record, moment in zip(records, moments, strict=True):
        groups.setdefault(int(moment / width_s), []).append(record)
    return groups


def _count(records: Sequence[Record], end: End) -> int:
    return sum(each.end is end for each in records)


def _rate(count: int, seconds: float) -> float | None:
    return round(count / seconds, 3) if seconds else None


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
