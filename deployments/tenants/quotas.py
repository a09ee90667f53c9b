"""Whether a tenant may have one more task: pure, told everything it needs.

    model allowed? ─► pace ─► tasks and work that wait ─► money

Whoever calls holds the tenant's row, so no other submission of the tenant is being judged at the same time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deployments.errors import BudgetExhausted, ModelNotAllowed, QuotaExceeded
from deployments.tenants.tenant import Tenant

#: Seconds over which requests are counted.
MINUTE_S = 60.0
#: Bounds of the advice when to try again, in seconds.
MIN_RETRY_S, MAX_RETRY_S = 1, 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things are with a tenant at one moment."""

    #: The tenant, with what it has spent.
    tenant: Tenant
    #: The moment, in seconds since the epoch.
    now_s: float
    #: Its tasks that wait.
    queued: int
    #: Their work units together.
    queued_units: float
    #: How long the oldest of them has waited, in seconds.
    oldest_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one more task would be."""

    #: Catalog name of its model.
    model: str
    #: What it costs a GPU, in work units.
    work_units: float
    #: What it costs its tenant at most, in millionths of a dollar.
    price: int


def admit(standing: Standing, ask: Ask) -> float:
    """Let a task in, or say why not.

    Returns:
        The tenant's new ``paced_until_s``.

    Raises:
        ModelNotAllowed: when the tenant may not use that model.
        QuotaExceeded: when it has as much waiting as it may, or asks too often; says when to try again.
        BudgetExhausted: when it cannot pay.
    """
    tenant = standing.tenant
    if tenant.models is not None and ask.model not in tenant.models:
        raise ModelNotAllowed
    paced_until_s = _pace(tenant, now_s=standing.now_s)
    _check_waiting(standing, ask)
    if tenant.left is not None and ask.price > tenant.left:
        raise BudgetExhausted
    return paced_until_s


def _pace(tenant: Tenant, *, now_s: float) -> float:
    """Return until when the pace is used up after one more request.

    Every request uses up a minute's share, and up to a minute may be used in advance. That one number decides exactly
    as a bucket of tokens would, and says to the second when there is room again.

    Source: the generic cell rate algorithm, ITU-T I.371, section A.1, seen 2026-11.
    """
    if tenant.requests_per_minute is None:
        return tenant.paced_until_s
    paced_until_s = max(tenant.paced_until_s, now_s) + MINUTE_S / tenant.requests_per_minute
    wait_s = paced_until_s - MINUTE_S - now_s
    if wait_s > 1e-6:  # sums of doubles near 1.7e9 are exact to a quarter of a microsecond
        text = f"more than {tenant.requests_per_minute} requests in a minute"
        raise QuotaExceeded(text, retry_after_s=_whole(wait_s))
    return paced_until_s


def _check_waiting(standing: Standing, ask: Ask) -> None:
    tenant = standing.tenant
    if tenant.max_queued is not None and standing.queued >= tenant.max_queued:
        raise QuotaExceeded(f"{standing.queued} tasks are waiting already", retry_after_s=_until_one_leaves(standing))
    if tenant.max_queued_units is None or standing.queued_units + ask.work_units <= tenant.max_queued_units:
        return
    raise QuotaExceeded(
        f"{standing.queued_units:.0f} work units are waiting already", retry_after_s=_until_one_leaves(standing)
    )


def _until_one_leaves(standing: Standing) -> int:
    """Estimate when the next waiting task is taken; where none waits, only an operator can help.

    Source: Little's law: tasks leave every (time in the queue / tasks in the queue) seconds.
    """
    return _whole(standing.oldest_wait_s / standing.queued) if standing.queued else MAX_RETRY_S


def _whole(seconds: float) -> int:
    return min(max(math.ceil(seconds), MIN_RETRY_S), MAX_RETRY_S)
