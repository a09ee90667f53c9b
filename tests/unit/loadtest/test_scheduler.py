"""The virtual device takes every step it is asked for, in every order, and the figures mean what they say."""

from __future__ import annotations

import pytest

from loadtest.scheduler.__main__ import decision_us, figures_of
from loadtest.scheduler.arrivals import NOISY, noisy, poisson
from loadtest.scheduler.orders import ORDERS, run
from models.cost import cost_table


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_ends_all_work(order: str) -> None:
    """Every request ends once, after it came and not before it could have; one device is never ahead of its work."""
    arrivals = poisson(cost_table(), load=0.9, requests=30, seed=3)

    jobs = run(arrivals, ORDERS[order](), costs=cost_table())

    assert sorted(job.arrival.number for job in jobs) == list(range(30))
    assert not any(any(job.left) for job in jobs)
    assert all(job.started_s is not None and job.arrival.at_s <= job.started_s < job.ended_s for job in jobs)


def test_a_trace_is_the_same_every_time_and_has_its_flood() -> None:
    """One seed means one trace; the noisy one is the calm one and a tenant more."""
    calm, again = (poisson(cost_table(), load=0.5, requests=40, seed=7) for _ in range(2))

    loud = noisy(cost_table(), load=0.5, requests=40, seed=7)

    assert calm == again
    assert [each.at_s for each in loud if each.tenant != NOISY] == [each.at_s for each in calm]
    assert any(each.tenant == NOISY for each in loud)


def test_one_alone_is_not_slowed_down() -> None:
    """A request that has the device for itself has a slowdown of about 1, no wait, and is in time."""
    arrivals = poisson(cost_table(), load=0.5, requests=1, seed=1)

    figures = figures_of(run(arrivals, ORDERS["ours, exact"](), costs=cost_table()))

    assert figures["slowdown_mean"] == pytest.approx(1, abs=0.1)
    assert (figures["wait_p95_s"], figures["in_time"], figures["fairness"]) == (0, 1, 1)


def test_a_decision_takes_some_time() -> None:
    """The clock of the decision runs."""
    assert decision_us(max_group=8, samples=1000, rounds=3) > 0
