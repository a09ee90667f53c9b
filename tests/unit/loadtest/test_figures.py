"""Figures of the benchmarks: percentiles, spreads, ratios and what is written to the file."""

from __future__ import annotations

import json
import math

import pytest

from loadtest.figures import (
    Cell,
    Spread,
    cells_of,
    figure_rows,
    markdown,
    mode_rows,
    percentile,
    ratios,
    spread,
    summarise,
    to_json,
)


def make_cell(*, target: str = "uxo", operation: str = "submit x16", round_: int = 1, cpu_ms: float = 6.0) -> Cell:
    """Return a measurement in which every other metric has a fixed relation to the CPU time."""
    return Cell(
        round=round_,
        target=target,
        operation=operation,
        calls=100,
        wall_s=1.0,
        p50_ms=2 * cpu_ms,
        p99_ms=4 * cpu_ms,
        per_s=1000 / cpu_ms if cpu_ms else 0.0,
        cpu_ms=cpu_ms,
        load_cpu_ms=0.2,
    )


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.5, 7.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([float(value) for value in range(1, 101)], 0.99, 99.0),
        ([float(value) for value in range(1, 101)], 1.0, 100.0),
    ],
)
def test_percentile_is_a_value_that_was_measured(values: list[float], share: float, expected: float) -> None:
    """A percentile is the smallest measured value that the share of all values does not exceed."""
    assert percentile(values, share) == expected


def test_spread_keeps_the_middle_and_the_ends() -> None:
    """One odd round moves an end and not the median."""
    assert spread([5.0, 4.0, 90.0]) == Spread(median=5.0, low=4.0, high=90.0)


def test_summary_takes_each_target_and_operation_alone() -> None:
    """Rounds of another target or operation do not enter a spread."""
    cells = [
        make_cell(round_=1, cpu_ms=6.0),
        make_cell(round_=2, cpu_ms=8.0),
        make_cell(target="echo", cpu_ms=100.0),
        make_cell(operation="read x16", cpu_ms=200.0),
    ]

    summary = summarise(cells)

    assert summary["submit x16", "uxo"]["cpu_ms"] == Spread(median=7.0, low=6.0, high=8.0)
    assert list(summary) == [("submit x16", "uxo"), ("submit x16", "echo"), ("read x16", "uxo")]


def test_ratio_divides_by_the_reference_of_the_same_operation() -> None:
    """A target without a reference has no ratio, and neither has one whose reference was not measured."""
    cells = [
        make_cell(cpu_ms=6.0),
        make_cell(target="echo", cpu_ms=2.0),
        make_cell(target="uxo-haproxy", cpu_ms=3.0),
    ]

    found = ratios(summarise(cells), reference_of={"uxo": "echo", "uxo-haproxy": "echo-haproxy"})

    assert list(found) == [("submit x16", "uxo")]
    assert found["submit x16", "uxo"]["cpu_ms"] == 3.0


def test_ratio_to_nothing_is_not_a_number() -> None:
    """A reference of zero, below what the kernel counts, does not end the run after minutes of measuring."""
    cells = [make_cell(cpu_ms=6.0), make_cell(target="echo", cpu_ms=0.0)]

    found = ratios(summarise(cells), reference_of={"uxo": "echo"})

    assert math.isnan(found["submit x16", "uxo"]["cpu_ms"])


def test_file_holds_facts_rounds_summary_and_ratios() -> None:
    """What is written can be read again as the same rounds, by programs that know only JSON."""
    cells = [make_cell(cpu_ms=6.0), make_cell(target="echo", cpu_ms=2.0)]

    report = json.loads(json.dumps(to_json(cells, {"commit": "abc"})))

    assert cells_of(report) == cells
    assert report["commit"] == "abc"
    assert report["summary"]["submit x16"]["uxo"]["p50_ms"] == {"median": 12.0, "low": 12.0, "high": 12.0}
    assert report["ratio_to_echo"]["submit x16"]["uxo"]["cpu_ms"] == 3.0


def test_rows_show_every_target_and_ratios_where_there_are_any() -> None:
    """The echo stands beside ours, without a ratio to itself."""
    rows = figure_rows([make_cell(cpu_ms=6.0), make_cell(target="echo", cpu_ms=2.0)])

    assert rows[1][:3] == ["submit x16", "uxo", "12.0 (12.0-12.0)"]
    assert rows[1][3:6] == ["24.0 (24.0-24.0)", "167 (167-167)", "6.00 (6.00-6.00)"]
    assert rows[1][6:] == ["3.00", "3.00"]
    assert rows[2][-2:] == ["", ""]


def test_mode_rows_compare_a_server_with_itself() -> None:
    """What HAProxy changes is told for the echo and for ours alike."""
    cells = [make_cell(cpu_ms=6.0), make_cell(target="uxo-haproxy", cpu_ms=3.0)]

    assert mode_rows(cells)[1:] == [["submit x16", "uxo-haproxy", "0.50", "0.50", "2.00", "0.50"]]


def test_markdown_is_a_table() -> None:
    """The heading is set off from the lines."""
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
