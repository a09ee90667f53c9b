"""Whether a tenant may have one more task: every limit at its edge, and what is advised to those who are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployments.errors import BudgetExhausted, CallRefused, ModelNotAllowed, QuotaExceeded
from deployments.tenants.quotas import MAX_RETRY_S, Ask, Standing, admit
from deployments.tenants.tenant import Tenant

NOW_S = 1_795_000_000.0
FREE = Tenant(id="alice", max_queued=None)
ASK = Ask(model="uno", work_units=10.0, price=50_000)


def standing(tenant: Tenant, **fields: Any) -> Standing:
    """Describe a tenant that has nothing waiting; give it the fields that matter."""
    plain: dict[str, Any] = {"now_s": NOW_S, "queued": 0, "queued_units": 0.0, "oldest_wait_s": 0.0}
    return Standing(tenant=tenant, **(plain | fields))


def refusal_of(at: Standing, ask: Ask = ASK) -> CallRefused:
    """Return why something is not let in."""
    with pytest.raises(CallRefused) as refusal:
        admit(at, ask)
    return refusal.value


def test_without_limits_everything_is_let_in() -> None:
    """A tenant without limits may have any number of tasks of any model at any price, and its pace stays unused."""
    at = standing(FREE, queued=10**9, queued_units=1e12, oldest_wait_s=1e6)

    assert admit(at, replace(ASK, model="of tomorrow", price=2**53)) == 0.0


@pytest.mark.parametrize("models", [frozenset({"uno"}), frozenset({"uno", "uso"}), None])
def test_an_allowed_model_is_let_in(models: frozenset[str] | None) -> None:
    """A model on the list is let in, and without a list every model is."""
    admit(standing(replace(FREE, models=models)), ASK)


@pytest.mark.parametrize("models", [frozenset(), frozenset({"uso"}), frozenset({"un", "UNO"})])
def test_a_model_that_is_not_on_the_list_is_refused(models: frozenset[str]) -> None:
    """A list allows what it names and nothing else; an empty one allows nothing. Coming again is of no use."""
    refusal = refusal_of(standing(replace(FREE, models=models)))

    assert isinstance(refusal, ModelNotAllowed)
    assert refusal.retry_after_s is None


@pytest.mark.parametrize(
    ("limit", "below", "at"),
    [
        ({"max_queued": 3}, {"queued": 2}, {"queued": 3}),
        ({"max_queued": 3}, {"queued": 0}, {"queued": 4}),
        ({"max_queued_units": 30.0}, {"queued_units": 20.0}, {"queued_units": 20.5}),
        ({"max_queued_units": 10.0}, {"queued_units": 0.0}, {"queued_units": 10.0}),
    ],
)
def test_what_waits_is_bounded(limit: dict[str, Any], below: dict[str, Any], at: dict[str, Any]) -> None:
    """The last task or unit that fits is let in, and the first that does not is refused."""
    tenant = replace(FREE, **limit)

    admit(standing(tenant, **below), ASK)

    assert isinstance(refusal_of(standing(tenant, **at)), QuotaExceeded)


@pytest.mark.parametrize(
    ("queued", "oldest_wait_s", "advice_s"),
    [(10, 100.0, 10), (10, 101.0, 11), (10, 0.001, 1), (10, 0.0, 1), (10, -5.0, 1), (10, 1e9, MAX_RETRY_S)],
)
@pytest.mark.parametrize("limit", [{"max_queued": 10}, {"max_queued_units": 10.0}])
def test_the_advice_is_when_the_next_one_leaves(
    limit: dict[str, Any], queued: int, oldest_wait_s: float, advice_s: int
) -> None:
    """Ten tasks of which the first has waited a hundred seconds leave every ten; the advice is whole and bounded."""
    at = standing(replace(FREE, **limit), queued=queued, queued_units=10.0, oldest_wait_s=oldest_wait_s)

    assert refusal_of(at).retry_after_s == advice_s


@pytest.mark.parametrize("limit", [{"max_queued": 0}, {"max_queued_units": 9.9}])
def test_where_nothing_waits_there_is_nothing_to_wait_for(limit: dict[str, Any]) -> None:
    """What is refused though nothing waits will be refused again, and its caller is not told to come right back."""
    assert refusal_of(standing(replace(FREE, **limit))).retry_after_s == MAX_RETRY_S


def test_what_is_waiting_is_said() -> None:
    """The refusals say how much waits, in tasks or in units."""
    tasks = refusal_of(standing(replace(FREE, max_queued=3), queued=3))
    units = refusal_of(standing(replace(FREE, max_queued_units=30.0), queued_units=29.6))

    assert tasks.message == "3 tasks are waiting already"
    assert units.message == "30 work units are waiting already"


@pytest.mark.parametrize(("spent", "held", "price"), [(0, 0, 100), (40, 0, 60), (0, 99, 1), (30, 30, 40), (50, 50, 0)])
def test_what_can_be_paid_is_let_in(spent: int, held: int, price: int) -> None:
    """A budget may be used to the last millionth, and what costs nothing needs none."""
    admit(standing(replace(FREE, budget=100, spent=spent, held=held)), replace(ASK, price=price))


@pytest.mark.parametrize(("spent", "held", "price"), [(0, 0, 101), (40, 0, 61), (0, 100, 1), (30, 30, 41), (150, 0, 0)])
def test_what_cannot_be_paid_is_refused(spent: int, held: int, price: int) -> None:
    """Money that is held counts as spent; a tenant over its budget gets nothing; coming again is of no use."""
    refusal = refusal_of(standing(replace(FREE, budget=100, spent=spent, held=held)), replace(ASK, price=price))

    assert isinstance(refusal, BudgetExhausted)
    assert refusal.retry_after_s is None


def test_a_pace_lets_in_a_minutes_requests_at_once() -> None:
    """Six a minute are six at once and not seven; the seventh is told to come back in ten seconds."""
    tenant = replace(FREE, requests_per_minute=6)

    for _ in range(6):
        tenant = replace(tenant, paced_until_s=admit(standing(tenant), ASK))

    refusal = refusal_of(standing(tenant))
    assert isinstance(refusal, QuotaExceeded)
    assert (refusal.message, refusal.retry_after_s) == ("more than 6 requests in a minute", 10)


@pytest.mark.parametrize(("after_s", "is_let_in"), [(9.9, False), (10.0, True)])
def test_a_pace_refills_evenly(after_s: float, *, is_let_in: bool) -> None:
    """At six a minute there is room for one more every ten seconds, and not before."""
    tenant = replace(FREE, requests_per_minute=6, paced_until_s=NOW_S + 60)
    later = standing(tenant, now_s=NOW_S + after_s)

    if is_let_in:
        assert admit(later, ASK) == pytest.approx(NOW_S + 70)
    else:
        assert refusal_of(later).retry_after_s == 1


def test_a_pace_that_was_not_used_is_not_saved_up() -> None:
    """After a quiet day a minute's requests may come at once, and no more."""
    tenant = replace(FREE, requests_per_minute=2, paced_until_s=NOW_S - 86_400)

    assert admit(standing(tenant), ASK) == NOW_S + 30


LIMITED = replace(FREE, models=frozenset({"uso"}), requests_per_minute=1, max_queued=1, budget=0)


@pytest.mark.parametrize(
    ("healed", "refused_as"),
    [
        ({}, ModelNotAllowed),
        ({"models": None}, QuotaExceeded),
        ({"models": None, "paced_until_s": 0.0}, QuotaExceeded),
        ({"models": None, "paced_until_s": 0.0, "max_queued": None}, BudgetExhausted),
    ],
)
def test_one_reason_is_given_at_a_time(healed: dict[str, Any], refused_as: type[CallRefused]) -> None:
    """Who is refused for many reasons hears first what waiting does not mend, and at last of money."""
    tenant = replace(LIMITED, paced_until_s=NOW_S + 60)

    refusal = refusal_of(standing(replace(tenant, **healed), queued=1))

    assert type(refusal) is refused_as


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({}, None),
        ({"spent": 10, "held": 10}, None),
        ({"budget": 100, "spent": 10, "held": 30}, 60),
        ({"budget": 10, "spent": 30}, -20),
    ],
)
def test_what_is_left_is_neither_spent_nor_held(fields: dict[str, int], left: int | None) -> None:
    """Without a budget there is no end; with one, what is held counts as gone."""
    assert replace(FREE, **fields).left == left  # type: ignore[arg-type]  # every field named here is a whole number
