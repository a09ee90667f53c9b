"""From measurements to figures: percentiles, medians with their spread, ratios and tables. Pure; measures nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: The metrics of a cell that have a median and a spread.
METRICS = ("p50_ms", "p99_ms", "per_s", "cpu_ms")
#: What each server's figures are divided by: the bare echo in the same mode.
ECHO_OF = {"uxo": "echo", "uxo-haproxy": "echo-haproxy"}
#: What each server's figures are divided by to see what HAProxy does: the same server without it.
PLAIN_OF = {"echo-haproxy": "echo", "uxo-haproxy": "uxo"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One operation at one target in one round."""

    #: Counted from 1.
    round: int
    #: Who was measured.
    target: str
    #: What was asked for, with the number of clients that asked at once.
    operation: str
    #: Calls answered.
    calls: int
    #: How long that took.
    wall_s: float
    #: Median duration of a call.
    p50_ms: float
    #: What 99 of 100 calls stay below.
    p99_ms: float
    #: Calls answered per second.
    per_s: float
    #: User and system time of all of the server's processes per call, without what they use when nobody calls.
    cpu_ms: float
    #: The same of the load itself, which shares the machine's cores with the server.
    load_cpu_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One metric over all rounds."""

    #: The middle round.
    median: float
    #: The lowest round.
    low: float
    #: The highest round.
    high: float


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed.

    Args:
        values: at least one.
        share: in (0, 1].
    """
    return sorted(values)[math.ceil(share * len(values)) - 1]


def evenness(values: Sequence[float]) -> float:
    """Return Jain's index of at least one value, not all of them 0: 1 where all are alike, 1/n where all but one are 0.

    Source: R. Jain, D. Chiu, W. Hawe, "A Quantitative Measure of Fairness", DEC-TR-301, 1984.
    """
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def evenness_of_means(groups: Mapping[str, Sequence[float]]) -> float:
    """Return Jain's index of the mean of each group; 1 where there is none."""
    return evenness([statistics.fmean(values) for values in groups.values()]) if groups else 1.0


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the ends of at least one value."""
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


Summary = Mapping[tuple[str, str], Mapping[str, Spread]]


def summarise(cells: Sequence[Cell]) -> Summary:
    """Return every metric's spread by (operation, target), in the order in which these first came."""
    keys = dict.fromkeys((cell.operation, cell.target) for cell in cells)
    return {
        key: {
            metric: spread([getattr(cell, metric) for cell in cells if (cell.operation, cell.target) == key])
            for metric in METRICS
        }
        for key in keys
    }


def ratios(summary: Summary, *, reference_of: Mapping[str, str]) -> dict[tuple[str, str], dict[str, float]]:
    """Divide each target's medians by those of its reference.

    Returns:
        By (operation, target); targets without a reference are left out, and metrics whose reference is zero are NaN.
    """
    return {
        (operation, target): {
            metric: _divided(found.median, summary[operation, reference_of[target]][metric].median)
            for metric, found in metrics.items()
        }
        for (operation, target), metrics in summary.items()
        if (operation, reference_of.get(target)) in summary
    }


def to_json(cells: Sequence[Cell], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is written to the file: the facts, every round, and what they come to."""
    summary = summarise(cells)
    return {
        **facts,
        "cells": [asdict(cell) for cell in cells],
        "summary": _nested(
            {key: {name: asdict(each) for name, each in found.items()} for key, found in summary.items()}
        ),
        "ratio_to_echo": _nested(ratios(summary, reference_of=ECHO_OF)),
        "ratio_haproxy_to_plain": _nested(ratios(summary, reference_of=PLAIN_OF)),
    }


def cells_of(report: Mapping[str, Any]) -> list[Cell]:
    """Return the rounds of a file that ``to_json`` made."""
    return [Cell(**fields) for fields in report["cells"]]


def figure_rows(cells: Sequence[Cell]) -> list[list[str]]:
    """Return a heading and one line per operation and target: medians, spreads, and ratios to the bare echo."""
    summary = summarise(cells)
    to_echo = ratios(summary, reference_of=ECHO_OF)
    heading = ["operation", "target", "p50 ms", "p99 ms", "calls/s", "CPU ms/call", "p50 / echo", "CPU / echo"]
    return [
        heading,
        *(
            [*key, *(_spread_text(found[metric]) for metric in METRICS), *_ratio_texts(to_echo.get(key))]
            for key, found in summary.items()
        ),
    ]


def mode_rows(cells: Sequence[Cell]) -> list[list[str]]:
    """Return a heading and one line per operation and HAProxy server: what the mode changes."""
    found = ratios(summarise(cells), reference_of=PLAIN_OF)
    heading = ["operation", "with HAProxy / without", *METRICS]
    return [heading, *([*key, *(f"{ratio[metric]:.2f}" for metric in METRICS)] for key, ratio in found.items())]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Write a heading and lines as a Markdown table."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _nested(found: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for (operation, target), value in found.items():
        nested.setdefault(operation, {})[target] = value
    return nested


def _divided(value: float, reference: float) -> float:
    return round(value / reference, 3) if reference else math.nan


def _spread_text(found: Spread) -> str:
    return f"{_number(found.median)} ({_number(found.low)}-{_number(found.high)})"


def _ratio_texts(ratio: Mapping[str, float] | None) -> list[str]:
    return [f"{ratio['p50_ms']:.2f}", f"{ratio['cpu_ms']:.2f}"] if ratio else ["", ""]


def _number(value: float) -> str:
    """Write three significant digits."""
    decimals = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(decimals, 0)}f}"
