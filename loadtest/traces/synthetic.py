"""A made-up trace with the statistics of real ones: the profile it is drawn from, and what it comes to. Pure.

What is taken from a published trace of an image service (Alibaba GenTD26, 26,823 requests, snapshot of 2026-04), as
worked out here: arrivals are Poisson within an hour and wild across hours, so the bursty variant changes between two
rates; pictures per request, capped at four; very unequal tenants. Sizes, steps, cancels and references are assumptions;
no public trace counts references.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

from loadtest.openloop.order import Order
from loadtest.openloop.profile import Burst, Cancels, Poisson, Profile
from loadtest.scheduler.arrivals import CALM_S, PEAK, PEAK_S

#: The share of orders that are taken back, in the middle of the 5 to 10 % that is assumed.
CANCELS = 0.07


def synthetic(*, rate: float, seconds: float, tenants: int, seed: int, is_bursty: bool) -> Profile:
    """Return the profile of a synthetic trace.

    Args:
        rate: orders per second, on average.
        seconds: how long orders come.
        tenants: how many ask.
        seed: everything is drawn from it.
        is_bursty: whether the rate changes between a calm and a peak.
    """
    # The calm is as much below the mean as it takes for the mean to be the rate.
    calm = rate * (CALM_S + PEAK_S) / (CALM_S + PEAK * PEAK_S)
    burst = Burst(kind="burst", rate=calm, peak=calm * PEAK, calm_s=CALM_S, peak_s=PEAK_S)
    return Profile(
        seconds=seconds,
        arrivals=burst if is_bursty else Poisson(kind="poisson", rate=rate),
        seed=seed,
        tenants=tenants,
        cancels=Cancels(share=CANCELS, within_s=5.0),
    )


def statistics_of(orders: Sequence[Order]) -> dict[str, Any]:
    """Return what can be compared with real traces: rate, spread of the distances, dispersion, and shares."""
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(orders)]
    span_s = orders[-1].at_s - orders[0].at_s if orders else 0.0
    tenants = Counter(order.tenant for order in orders)
    return {
        "orders": len(orders),
        "per_s": len(orders) / span_s if span_s else None,
        "gap_variation": pstdev(gaps) / fmean(gaps) if gaps and span_s else None,
        "dispersion_60_s": _dispersion([order.at_s for order in orders], width_s=60.0),
        "top_tenant_share": max(tenants.values(), default=0) / max(len(orders), 1),
        "cancelled_share": sum(order.cancel_after_s is not None for order in orders) / max(len(orders), 1),
        "sizes": dict(Counter(f"{order.width}x{order.height}" for order in orders).most_common()),
        **{
            name: dict(sorted(Counter(getattr(order, name) for order in orders).items()))
            for name in ("images", "steps", "references")
        },
    }


def _dispersion(due: Sequence[float], *, width_s: float) -> float | None:
    """Divide the variance of the counts per span by their mean; 1 for a Poisson process."""
    counts = Counter(int(at / width_s) for at in due)
    filled = [counts[span] for span in range(int(due[-1] / width_s))] if due else []
    return pstdev(filled) ** 2 / fmean(filled) if any(filled) else None
