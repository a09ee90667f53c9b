"""A report as one HTML page that needs nothing else: verdicts first, then figures, then plots. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from loadtest.openloop.drawing import bar_plot, line_plot

#: Figures of a wait.
RANKS = ("p50", "p95", "p99", "max")
#: Kinds of errors that have a line, and tenants that have a bar.
KINDS, BARS = 7, 12
#: Tenants that have a row.
ROWS = 50
#: What stands above the age of the queue where nobody knows when orders left it.
UNSEEN = "Age of the oldest order without an end (few were seen to be begun)"
#: How every page of ours looks, in light and in dark.
STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --faint: #8885; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #161616; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 1360px; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 1rem 2rem; }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 13px; }
.grid { stroke: var(--faint); } .room { fill: var(--faint); opacity: .3; }
/* A phone shows a plot at little more than half its size. */
@media (max-width: 600px) { svg text { font-size: 19px; } }
.tables { display: flex; flex-wrap: wrap; gap: 0 4rem; } .wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; } td, th { padding: .15rem .9rem .15rem 0; text-align: right; white-space: nowrap; }
td:first-child, th:first-child, .said tr > :last-child { text-align: left; }
.said td { white-space: normal; min-width: 4rem; } .said td:last-child { min-width: 9rem; }
tr { border-bottom: 1px solid var(--faint); }
.good::before { content: "✓ "; color: #009e73; } .bad::before { content: "✗ "; color: #d55e00; }
.legend { margin: 0; font-size: 13px; } pre { white-space: pre-wrap; font-size: 12px; }
ul { list-style: none; padding: 0; }
"""


def page(facts: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Write a report.

    Args:
        facts: what was run, on what and when; shown as it is.
        found: what ``findings`` returned.
    """
    title = f"Load test: {facts['profile']}"
    plots = "".join(
        f"<section><h2>{escape(name)}</h2>{plot}</section>" for name, plot in _plots(found, found["series"])
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{escape(str(facts['target']))} · {escape(str(facts['started_at']))}"
        f" · commit {escape(str(facts['commit']))}</p>"
        f"{_verdicts(facts, found)}<div class=tables><section class=wide><h2>All orders</h2>{_figures(found)}</section>"
        f"<section class=wide><h2>By tenant</h2>{_tenants(found['tenants'])}</section></div>"
        f"{_errors(found)}<div class=plots>{plots}</div>"
        f"<details><summary>What was run</summary><pre>{escape(json.dumps(facts, indent=1))}</pre></details></html>\n"
    )


def _verdicts(facts: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    lines = [(each["is_met"], each["text"]) for each in found["slo"]]
    lines.append((found["ledger"]["is_sound"], f"ledger {found['ledger']['text']}"))
    if facts["was_stopped"]:
        lines.append((False, f"stopped early: {found['not_sent']} orders were never sent"))
    if found["error_share"] in (None, 1.0):
        lines.append((False, "nothing succeeded: every order went wrong"))
    items = "".join(f'<li class="{"good" if good else "bad"}">{escape(text)}</li>' for good, text in lines)
    return f"<ul>{items}</ul>"


def _figures(found: Mapping[str, Any]) -> str:
    rows = [
        ["orders sent", found["orders"]],
        *_warm_up(found["warm_up"]),
        ["offered per second", found["offered_per_s"]],
        ["succeeded per second", found["succeeded_per_s"]],
        *([f"latency {name}, s", _wait(value, found["endless"])] for name, value in found["latency_s"].items()),
        ["errors", "none" if not found["error_share"] else f"{found['error_share']:.2%}"],
        ["own calls per second", found["calls_per_s"]],
        ["own lateness p99, ms", _ms(found["lateness_s"]["p99"])],
        ["fairness between tenants (Jain)", found["fairness"]],
    ]
    return table([], rows)


def _warm_up(warm_up: Mapping[str, Any]) -> list[list[Any]]:
    return [[f"sent before, in {warm_up['seconds']:g} s, not judged", warm_up["orders"]]] if warm_up["seconds"] else []


def _errors(found: Mapping[str, Any]) -> str:
    rows = [[kind, count, found["error_samples"].get(kind)] for kind, count in found["errors"].items()]
    said = table(["error", "orders", "what was said first"], rows)
    return f'<section class="wide said"><h2>Errors</h2>{said}</section>' if rows else ""


def _plots(found: Mapping[str, Any], series: Mapping[str, Any]) -> list[tuple[str, str]]:
    at_s = series["at_s"]
    rates = {"due": series["due_per_s"], "succeeded": series["succeeded_per_s"]}
    waits = {name: list(map(_height, series[name], series["endless"])) for name in ("p50", "p95", "p99")}
    is_seen = (series["begins_seen"] or 0.0) >= 0.5
    ages = {"oldest not begun" if is_seen else "oldest without an end": series["queue_age_s"]}
    medians = {tenant: _height(each["p50"], each["endless"]) for tenant, each in found["tenants"].items()}
    ends = bar_plot({name: float(count) for name, count in found["ends"].items()}, unit="orders")
    errors = _often(series["errors"])
    return [
        ("Throughput", line_plot(rates, at_s=at_s, unit="orders per second")),
        ("Latency from the due time, by due time", line_plot(waits, at_s=at_s, unit="seconds")),
        ("Age of the queue" if is_seen else UNSEEN, line_plot(ages, at_s=at_s, unit="seconds")),
        ("Errors by kind", line_plot(errors, at_s=at_s, unit="orders") if errors else "<p>There were none.</p>"),
        ("Median latency by tenant", bar_plot(_longest(medians), unit="seconds")),
        ("What became of the orders", ends),
    ]


def _height(value: float | None, endless: int) -> float | None:
    """Place what never ended at the upper edge, and leave a gap where there was nothing."""
    return math.inf if value is None and endless else value


def _often(errors: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    """Keep the most frequent kinds, and add up the others: there are seven colours."""
    kinds = sorted(errors, key=lambda kind: -sum(errors[kind]))
    if len(kinds) <= KINDS:
        return {kind: errors[kind] for kind in kinds}
    rest = [sum(counts) for counts in zip(*(errors[kind] for kind in kinds[KINDS - 1 :]), strict=True)]
    return {**{kind: errors[kind] for kind in kinds[: KINDS - 1]}, f"{len(kinds) - KINDS + 1} more kinds": rest}


def _longest(medians: Mapping[str, float | None]) -> dict[str, float | None]:
    """Keep those who wait longest; the table has all."""
    return dict(sorted(medians.items(), key=lambda each: -(each[1] or 0.0))[:BARS])


def _tenants(tenants: Mapping[str, Mapping[str, Any]]) -> str:
    heading = ["tenant", "orders", "succeeded", "errors", "p50 s", "p95 s", "p99 s", "max s"]
    busiest = sorted(tenants, key=lambda tenant: -tenants[tenant]["orders"])[:ROWS]
    rows = [_tenant_row(tenant, tenants[tenant]) for tenant in sorted(busiest)]
    rest = f"<p>The {ROWS} with the most orders of {len(tenants):,}; report.json has all.</p>"
    return table(heading, rows) + (rest if len(tenants) > ROWS else "")


def _tenant_row(tenant: str, figures: Mapping[str, Any]) -> list[Any]:
    counts = [figures[name] for name in ("orders", "succeeded", "errors")]
    return [tenant, *counts, *(_wait(figures[rank], figures["endless"]) for rank in RANKS)]


def _wait(seconds: float | None, endless: int) -> float | str | None:
    return "never" if seconds is None and endless else seconds


def table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Write a table; without a heading where there is none."""
    head = f"<tr>{''.join(f'<th>{escape(each)}</th>' for each in heading)}</tr>" if heading else ""
    lines = (f"<tr>{''.join(f'<td>{_text(each)}</td>' for each in row)}</tr>" for row in rows)
    return f"<table>{head}{''.join(lines)}</table>"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
