"""The benchmark's figures as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.figures import markdown

#: Columns of an order's figures: what is written above, and what is written of them.
COLUMNS: Mapping[str, str] = {
    "goodput": "{goodput:.3f}",
    "of the bound": "{of_bound:.3f}",
    "slowdown mean / p50 / p95 / p99": (
        "{slowdown_mean:.2f} / {slowdown_p50:.2f} / {slowdown_p95:.1f} / {slowdown_p99:.1f}"
    ),
    "latency mean / p50 / p95 / p99, s": (
        "{latency_mean_s:.1f} / {latency_p50_s:.1f} / {latency_p95_s:.0f} / {latency_p99_s:.0f}"
    ),
    "fairness": "{fairness:.3f}",
    "busy": "{busy:.3f}",
    "wasted": "{wasted:.3f}",
    "pictures/s": "{pictures_per_s:.3f}",
}


def tables(facts: Mapping[str, Any]) -> str:
    """Write what was promised, then a table for each trace."""
    parts = ["## What is promised", markdown(aim_rows(facts["aims"]))]
    for name, trace in facts["traces"].items():
        reached = (
            f"No order exceeds a goodput of {trace['bound']:.3f}; who knows the future reaches {trace['reached']:.3f}."
        )
        parts += [f"## {name[0].upper()}{name[1:]}", reached, markdown(order_rows(trace["orders"]))]
    return "\n\n".join(parts) + "\n"


def tuning_table(facts: Mapping[str, Any]) -> str:
    """Write what other constants come to: for every trace, goodput, and the slowdowns' mean and 95th percentile."""
    traces = list(facts["rows"][0]["traces"])
    rows = [
        [f"{row['rush']:g}", f"{row['postponing']:g}", f"{row['share']:g}", *(row["traces"][name] for name in traces)]
        for row in facts["rows"]
    ]
    return markdown([["rush", "postponing", "share", *traces], *rows]) + "\n"


def aim_rows(aims: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a heading and one line per aim."""
    return [
        ["aim", "trace", "value", "limit", "met"],
        *(
            [one["aim"], one["trace"], f"{one['value']:.3f}", _limit(one), "yes" if one["is_met"] else "**no**"]
            for one in aims
        ),
    ]


def order_rows(orders: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return a heading and one line per order."""
    return [
        ["order", *COLUMNS],
        *([name, *(form.format(**figures) for form in COLUMNS.values())] for name, figures in orders.items()),
    ]


def _limit(aim: Mapping[str, Any]) -> str:
    return f"≤ {aim['most']:g}" if aim["least"] is None else f"≥ {aim['least']:g}"
