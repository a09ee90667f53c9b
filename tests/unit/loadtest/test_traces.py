"""Traces: the file comes back as it was written, wrong ones are refused, and made-up ones look like real ones."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

import pytest

from loadtest.openloop.due import orders_of
from loadtest.openloop.order import Order
from loadtest.traces.lines import UnreadableTrace, read_trace, write_trace
from loadtest.traces.synthetic import statistics_of, synthetic

HEADING = '{"trace": 1}'


def test_a_trace_comes_back_as_it_was_written() -> None:
    """Every order of a made-up trace is read again, to the microsecond."""
    orders = orders_of(synthetic(rate=1, seconds=100, tenants=5, seed=1, is_bursty=False))

    again = read_trace(write_trace(orders, made_by="a test", seed=1))

    assert [order.at_s for order in again] == pytest.approx([order.at_s for order in orders], abs=1e-6)
    assert [(order.steps, order.tenant, order.cancel_after_s) for order in again] == [
        (order.steps, order.tenant, order.cancel_after_s) for order in orders
    ]


def test_what_is_left_out_is_as_usual() -> None:
    """A line needs a time and a tenant; lines may come in any order."""
    orders = read_trace([HEADING, '{"at_s": 2, "tenant": "b"}', "", '{"at_s": 1, "tenant": "a", "images": 2}'])

    assert orders == [Order(at_s=1.0, tenant="a", images=2), Order(at_s=2.0, tenant="b")]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([], "line 1: a trace begins"),
        (['{"at_s": 1, "tenant": "a"}'], "line 1: a trace begins"),
        ([HEADING, '{"at_s": 1, "tenant": "a", "prompt": "x"}'], "line 2: prompt: Extra"),
        ([HEADING, '{"at_s": -1, "tenant": "a"}'], "line 2: at_s: "),
        ([HEADING, '{"at_s": 1, "tenant": "a", "dialect": "aiml"}'], "line 2: dialect: "),
        ([HEADING, '{"at_s": 1, "tenant": "a", "images": 0}'], "line 2: images: "),
        ([HEADING, '{"at_s": 1}'], "line 2: tenant: Field required"),
        ([HEADING, "{"], "line 2: line: Invalid JSON"),
    ],
)
def test_a_wrong_trace_names_its_line(lines: list[str], named: str) -> None:
    """What is wrong is named with its line and field."""
    with pytest.raises(UnreadableTrace) as refused:
        read_trace(lines)

    assert named in str(refused.value)


@pytest.fixture(scope="module")
def hour() -> list[Order]:
    """Return a synthetic trace of 18,000 orders or so."""
    return orders_of(synthetic(rate=5, seconds=3600, tenants=30, seed=7, is_bursty=False))


def test_a_synthetic_trace_arrives_like_a_real_one(hour: list[Order]) -> None:
    """Within an hour it is a Poisson process: the spread of distances and of counts per minute is 1, at the rate."""
    found = statistics_of(hour)

    assert found["per_s"] == pytest.approx(5, rel=0.05)
    assert found["gap_variation"] == pytest.approx(1.0, abs=0.05)
    assert found["dispersion_60_s"] == pytest.approx(1.0, abs=0.5)


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("images", {1: 0.58, 2: 0.08, 4: 0.34}),
        ("steps", {12: 0.1, 25: 0.6, 28: 0.2, 50: 0.1}),
        ("references", {0: 0.05, 1: 0.5, 2: 0.25, 3: 0.1, 4: 0.1}),
        ("sizes", {"512x512": 0.35, "768x768": 0.15, "1024x1024": 0.3, "768x1024": 0.1, "1024x680": 0.1}),
    ],
)
def test_a_synthetic_trace_asks_for_what_it_says(hour: list[Order], name: str, shares: dict[int | str, float]) -> None:
    """Pictures follow the published trace, capped at four; steps, references and sizes what is assumed."""
    found = statistics_of(hour)

    assert {each: count / len(hour) for each, count in found[name].items()} == pytest.approx(shares, abs=0.015)


def test_tenants_of_a_synthetic_trace_are_very_unequal(hour: list[Order]) -> None:
    """Each of thirty asks as much less than the first as Zipf's law says with an exponent of 0.9."""
    law = [1 / rank**0.9 for rank in range(1, 31)]

    asked = Counter(order.tenant for order in hour)

    shares = {f"tenant-{rank:03}": weight / sum(law) for rank, weight in enumerate(law, start=1)}
    assert {tenant: count / len(hour) for tenant, count in asked.items()} == pytest.approx(shares, abs=0.01)
    assert statistics_of(hour)["top_tenant_share"] == asked["tenant-001"] / len(hour)


def test_some_of_a_synthetic_trace_is_taken_back(hour: list[Order]) -> None:
    """Seven in a hundred are, evenly within five seconds, whatever they ask for."""
    after_s = [order.cancel_after_s for order in hour if order.cancel_after_s is not None]

    found = statistics_of(hour)["cancelled_share"]

    assert found == len(after_s) / len(hour) == pytest.approx(0.07, abs=0.01)
    assert 0 <= min(after_s) < max(after_s) <= 5.0
    assert fmean(after_s) == pytest.approx(2.5, abs=0.15)


def test_the_bursty_variant_keeps_the_rate() -> None:
    """Bursts spread the counts of a minute far beyond a Poisson process, at about the same rate over a day."""
    found = statistics_of(orders_of(synthetic(rate=1, seconds=86400, tenants=30, seed=7, is_bursty=True)))

    assert found["per_s"] == pytest.approx(1, rel=0.15)
    assert found["dispersion_60_s"] > 4
