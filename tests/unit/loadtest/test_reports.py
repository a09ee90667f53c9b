"""What the benchmarks of the store make of their measurements, and when their loads are due."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from loadtest import flood, hostile_pictures, step_gaps, store_cost, wake_up
from loadtest.hostile_pictures import Findings
from loadtest.store_cost import Measured


def measured(**fields: Any) -> Measured:
    """Make one measurement."""
    plain: dict[str, Any] = {
        "database": "sqlite",
        "history": 0,
        "operation": "submit x1",
        "per_s": 100,
        "p50_ms": 1,
        "p99_ms": 2,
    }
    return Measured(**(plain | fields))


def test_the_index_lists_every_page() -> None:
    """Whoever looks for a figure finds each page of the benchmarks in the index, and none that is not there."""
    index = Path("docs/benchmarks.md").read_text(encoding="utf-8")

    listed = re.findall(r"^\| \[\w+\]\(benchmarks/(\w+\.md)\)", index, flags=re.MULTILINE)

    assert sorted(listed) == sorted(page.name for page in Path("docs/benchmarks").glob("*.md"))


def test_the_middle_round_stands_in_the_table() -> None:
    """Each group is one line with its median, and the longest history is divided by none."""
    rounds = [measured(per_s=90), measured(per_s=100), measured(per_s=500), measured(history=1000000, per_s=50)]

    lines = store_cost.markdown(rounds).splitlines()[2:]

    assert lines == [
        "| sqlite | submit x1 | 0 | 100 | 1.00 | 2.0 | 1.00 |",
        "| sqlite | submit x1 | 1,000,000 | 50 | 1.00 | 2.0 | 0.50 |",
    ]


def test_arrivals_come_at_their_rate_and_are_the_same_each_time() -> None:
    """A Poisson process of 5 a second for 1,000 s brings about 5,000, in order, drawn from the seed."""
    due = flood.arrivals(rate=5, seconds=1000, seed=1)

    assert 4700 < len(due) < 5300
    assert due == sorted(due)
    assert due == flood.arrivals(rate=5, seconds=1000, seed=1)
    assert due != flood.arrivals(rate=5, seconds=1000, seed=2)


def test_the_flood_table_divides_the_latencies() -> None:
    """Both phases are a line each, and the ratio is said below."""
    phase = {"polite_s": [1.0, 2.0], "flood_accepted": 3, "flood_refused": 4}

    text = flood.markdown({"alone": phase, "beside": phase, "p95_ratio": 1.0})

    assert "| beside | 2 | 1.00 | 2.00 | 3 | 4 |" in text
    assert text.endswith("p95 beside / alone: 1.00\n")


def test_the_wake_up_table_names_the_slowest() -> None:
    """Every database is a line with its percentiles and its longest delay."""
    text = wake_up.markdown({"sqlite": [float(ms) for ms in range(1, 101)]})

    assert text.splitlines()[-1] == "| sqlite | 100 | 50 | 99 | 100 |"


def test_gaps_are_shown_beside_the_step() -> None:
    """The mean is divided by the 100 ms of a step."""
    shown = step_gaps.table({"jpeg": [0.25, 0.25, 1.0, 0.5]}).splitlines()[2:]

    assert shown == ["| jpeg | 4 | 0.50 | 0.25 | 1.00 | 1.00 | 0.50% |"]


def test_what_came_of_hostile_pictures_is_counted() -> None:
    """Whatever was not decoded was refused, and what should not have happened is counted apart."""
    findings = Findings(took_ms=[1.0, 2.0, 30.0], wrong=["a strip: decoded"])
    findings.outcomes.update({"decoded": 1, "is broken": 2})
    found = {
        "kinds": {"mutated": findings.figures()},
        "decoders_lost": 1,
        "decoder_peak_mib": 380.5,
        "service_rss_growth_mib": 1.5,
        "service_restarts": 0,
    }

    shown = hostile_pictures.table(found).splitlines()

    assert shown[2] == "| mutated | 3 | 1 | 2 | 1 | 2 | 30 | 30 |"
    assert shown[-1].startswith("380.5 MiB at most")
