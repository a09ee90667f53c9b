"""Traces: the file comes back as it was written, wrong ones are refused, and made-up ones look like real ones."""

from __future__ import annotations

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


def test_a_synthetic_trace_looks_like_a_real_one() -> None:
    """Rate, shares and the spread within the hour are those of the published trace; tenants are very unequal."""
    found = statistics_of(orders_of(synthetic(rate=5, seconds=3600, tenants=30, seed=7, is_bursty=False)))

    assert found["per_s"] == pytest.approx(5, rel=0.05)
    assert found["gap_variation"] == pytest.approx(1.0, abs=0.05)
    assert found["dispersion_60_s"] == pytest.approx(1.0, abs=0.5)
    assert found["images"][1] / found["orders"] == pytest.approx(0.58, abs=0.02)
    assert found["steps"][25] / found["orders"] == pytest.approx(0.6, abs=0.02)
    assert 0.1 < found["top_tenant_share"] < 0.3
    assert 0.05 < found["cancelled_share"] < 0.1


def test_the_bursty_variant_keeps_the_rate() -> None:
    """Bursts spread the counts of a minute far beyond a Poisson process, at about the same rate over a day."""
    found = statistics_of(orders_of(synthetic(rate=1, seconds=86400, tenants=30, seed=7, is_bursty=True)))

    assert found["per_s"] == pytest.approx(1, rel=0.15)
    assert found["dispersion_60_s"] > 4
