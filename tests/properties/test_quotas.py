"""What holds for every sequence of submissions that one tenant may send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from deployments.errors import CallRefused
from deployments.tenants.quotas import MAX_RETRY_S, MIN_RETRY_S, Ask, Standing, admit
from deployments.tenants.tenant import Tenant

NOON_S = 1_795_000_000.0
ASK = Ask(model="uno", work_units=1.0, price=1)
#: Requests in a minute that a tenant is allowed.
RATES = st.integers(1, 5000)
#: Seconds between one call and the next; often none at all.
GAPS_S = st.lists(st.one_of(st.just(0.0), st.floats(0, 90), st.floats(0, 0.1)), min_size=1, max_size=15)


def at(now_s: float, tenant: Tenant) -> Standing:
    """Describe a tenant that has nothing waiting."""
    return Standing(tenant=tenant, now_s=now_s, queued=0, queued_units=0.0, oldest_wait_s=0.0)


def verdict(standing: Standing) -> float | CallRefused:
    """Return the tenant's new pace, or why it was refused."""
    try:
        return admit(standing, ASK)
    except CallRefused as refusal:
        return refusal


def ask(tenant: Tenant, now_s: float) -> tuple[Tenant, CallRefused | None]:
    """Ask once; return the tenant as it is afterwards, and why it was refused."""
    answer = verdict(at(now_s, tenant))
    if isinstance(answer, CallRefused):
        return tenant, answer
    return replace(tenant, paced_until_s=answer), None


def let_in(rate: int, gaps_s: Sequence[float], *, copies: int) -> list[float]:
    """Ask ``copies`` times after each gap; return the moments of what was let in."""
    tenant = Tenant(id="alice", requests_per_minute=rate)
    moments = []
    for now_s in accumulate(gaps_s, initial=NOON_S):
        for _ in range(copies):
            tenant, refusal = ask(tenant, now_s)
            moments += [] if refusal else [now_s]
    return moments


@given(rate=st.integers(1, 12), gaps_s=GAPS_S, copies=st.integers(1, 15))
def test_no_minute_sees_more_than_twice_the_rate(rate: int, gaps_s: list[float], copies: int) -> None:
    """Whenever the calls come, a window of 60 s holds a saved-up minute's share and the share of that minute itself.

    More exactly: whatever the length of the window, it holds at most ``rate * (1 + length / 60)``.
    """
    moments = let_in(rate, gaps_s, copies=copies)

    for number, start_s in enumerate(moments):
        for count, end_s in enumerate(moments[number:], start=1):
            assert count <= rate * (1 + (end_s - start_s + 1e-5) / 60)
    assert all(sum(start_s <= moment <= start_s + 60 for moment in moments) <= 2 * rate for start_s in moments)


@given(rate=RATES, gap_s=st.floats(0, 1e6))
def test_a_tenant_who_keeps_to_its_rate_is_never_refused(rate: int, gap_s: float) -> None:
    """Calls at an even pace, and a whole minute's calls after a pause, are all let in."""
    tenant = Tenant(id="alice", requests_per_minute=rate)

    for number in range(200):
        tenant, refusal = ask(tenant, NOON_S + gap_s + number * 60 / rate)
        assert refusal is None


@given(rate=RATES, gaps_s=GAPS_S)
def test_who_comes_when_told_is_let_in(rate: int, gaps_s: list[float]) -> None:
    """After exactly the advised wait, the same call is let in; a second earlier it is not."""
    tenant = Tenant(id="alice", requests_per_minute=rate, paced_until_s=NOON_S + 60)

    for now_s in accumulate(gaps_s, initial=NOON_S):
        tenant, refusal = ask(tenant, now_s)
        if refusal is None:
            continue
        advice_s = refusal.retry_after_s
        assert advice_s is not None
        _, refused_again = ask(tenant, now_s + advice_s)
        _, refused_earlier = ask(tenant, now_s + advice_s - 1.01)
        assert refused_again is None
        assert refused_earlier is not None


@given(
    tenant=st.builds(
        Tenant,
        id=st.just("alice"),
        models=st.none() | st.frozensets(st.sampled_from(["uno", "uso"])),
        max_queued=st.none() | st.integers(0, 5),
        max_queued_units=st.none() | st.floats(0, 5),
        requests_per_minute=st.none() | st.integers(1, 5),
        budget=st.none() | st.integers(0, 5),
        held=st.integers(0, 5),
        spent=st.integers(0, 5),
        paced_until_s=st.floats(NOON_S - 100, NOON_S + 100),
    ),
    queued=st.integers(0, 10),
    oldest_wait_s=st.floats(-1e9, 1e9),
)
def test_every_answer_is_within_the_limits(tenant: Tenant, queued: int, oldest_wait_s: float) -> None:
    """What is let in breaks no limit; what is refused is refused by a limit, and any advice is whole and bounded."""
    standing = replace(at(NOON_S, tenant), queued=queued, queued_units=float(queued), oldest_wait_s=oldest_wait_s)
    limits = [
        tenant.models is None or ASK.model in tenant.models,
        tenant.max_queued is None or queued < tenant.max_queued,
        tenant.max_queued_units is None or queued + 1 <= tenant.max_queued_units,
        tenant.budget is None or tenant.spent + tenant.held + 1 <= tenant.budget,
        tenant.requests_per_minute is None
        or tenant.paced_until_s + 60 / tenant.requests_per_minute <= NOON_S + 60 + 1e-6,
    ]

    answer = verdict(standing)

    assert isinstance(answer, float) == all(limits)
    if isinstance(answer, float):
        assert answer >= tenant.paced_until_s
    else:
        assert answer.retry_after_s is None or MIN_RETRY_S <= answer.retry_after_s <= MAX_RETRY_S
