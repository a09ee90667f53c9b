"""A plan as one HTML page that needs nothing else: the answer, what else was asked, and the fleet over time. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html import escape
from typing import Any

from loadtest.openloop.drawing import bar_plot, line_plot
from loadtest.openloop.page import STYLE, table

#: What a table of fleets shows: a heading, and where the figure stands.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "fleet": ("fleet",),
    "goals": ("meets",),
    "replicas, mean": ("replicas_mean",),
    "most": ("replicas_most",),
    "wait p95 s": ("wait_s", "p95"),
    "latency p50 s": ("latency_s", "p50"),
    "p95 s": ("latency_s", "p95"),
    "errors": ("error_share",),
    "busy": ("busy",),
    "GPU hours": ("gpu_hours",),
    "per 1,000 images": ("per_1000_images",),
}


def cells_of(row: Mapping[str, Any]) -> list[Any]:
    """Return what a row of a table of fleets shows."""
    return [_cell(row, path) for path in COLUMNS.values()]


def plan_page(plan: Mapping[str, Any]) -> str:
    """Write a plan's page.

    Args:
        plan: what ``loadtest.plan`` writes as JSON.
    """
    over_time, rows = plan["over_time"], plan["fleets"]
    at_s = over_time["at_s"]
    tasks = line_plot({name: over_time[name] for name in ("queued", "running")}, at_s=at_s, unit="tasks")
    replicas = line_plot({name: over_time[name] for name in ("up", "target")}, at_s=at_s, unit="replicas")
    prices = bar_plot({row["fleet"]: row["per_1000_images"] for row in rows}, unit="per 1,000 images")
    p95s = {row["fleet"]: row["latency_s"]["p95"] for row in rows}
    waits = bar_plot({fleet: math.inf if p95 is None else p95 for fleet, p95 in p95s.items()}, unit="latency p95, s")
    plots = "".join(
        f"<section><h2>{escape(name)}</h2>{plot}</section>"
        for name, plot in (
            ("Tasks over time", tasks),
            ("Replicas over time", replicas),
            ("What pictures cost", prices),
            ("How long they take", waits),
        )
    )
    title = f"Plan: {plan['trace']}"
    facts = {name: value for name, value in plan.items() if name not in {"fleets", "over_time"}}
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>{escape(title)}</h1>'
        f'<p class="{"good" if plan["is_met"] else "bad"}">{escape(plan["answer"])}</p>'
        f"{table(list(COLUMNS), [cells_of(row) for row in rows])}<div class=plots>{plots}</div>"
        f"<details><summary>What was planned</summary><pre>{escape(json.dumps(facts, indent=1))}</pre></details>"
        "</html>\n"
    )


def _cell(row: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = row
    for name in path:
        value = value[name]
    return {True: "met", False: "missed"}.get(value, value) if isinstance(value, bool) else value
