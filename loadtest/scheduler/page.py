"""The benchmark's figures as Markdown, and as the page that docs/ shows. Pure."""

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


INTRODUCTION = """# Which order of steps serves best?

`{command}`, commit `{commit}`, {cpu}, {cores} cores that others were using. `python -m loadtest.scheduler page` made
this page from what it wrote, [scheduler.json](scheduler.json). The clock is virtual, so only the time of a decision
depends on the machine: the real engine with the real policy, before one device whose steps take what the cost table
says ({costs}). {requests} requests for each trace (a quarter of them where all come at once) and the seeds {seeds},
on which no constant was chosen. The mix of references is an assumption; the rest follows a published trace
(`loadtest/scheduler/arrivals.py`).

A slowdown is the time from asking to the last picture over the time alone. Goodput is the share of requests that end
within three times their time alone, or within 2 s of that. Fairness is Jain's index over the tenants' mean speeds.
Wasted is the share of the device's work on requests that were taken back before they ended; these, and whoever
floods, are in no other figure. Where estimates are off, every request takes up to 20 % more or less than the table
says, and nobody is told.

The bound is what no order can exceed on one device that steps one picture at a time: requests shortest first, each as
much of it as fits beside those before, and a part of one counts as that part. With free interruption that way is
optimal for parts, so whole requests cannot do better (`loadtest/scheduler/bound.py` has the argument); those that fit
whole on the same way can be in time together, so the best order lies between. No order has a lower mean latency, one
at a time, than shortest first by true times.

A window cannot stop what runs in its batch: what was taken back meanwhile ends all the same, and is not counted as
wasted. Sharing calls with company that is not one's own delays whoever leads and saves little at most sizes. Ours in
groups therefore shares among the pictures of one request, and with strangers only where that spares all others twice
what it costs those in the call.

The order sees all that waits here. A real replica sees what it has claimed, so on a cluster these figures are what
the order can do, not what a caller measures.

![p95 of the slowdowns by load](scheduler.svg)
"""


CONSTANTS = """## How the constants were chosen

`{command}`, commit `{commit}`, on the training seeds {seeds}. In each cell: goodput; mean slowdown; p95 slowdown. The
first line is what `models/policy.py` has, each other one changes one of its constants.

{table}"""


REASONS = """Why: the share of the bound stays below what is promised where the load is high, because even who knows
the future hardly reaches that share there (each trace says how far), and nobody here knows what will come. Where
estimates are off, who is about to be late is judged wrongly; and the flood with such estimates is held against the calm
without, so that both are counted as the flood's. A decision was timed while other work kept every core busy; alone it
takes less. Constants were chosen by goodput first: a lower `rush` makes a flood felt less and the mean slowdown higher.
"""


def page(facts: Mapping[str, Any], tuning: Mapping[str, Any]) -> str:
    """Write the whole page: how it was measured, what is promised and missed, every trace, and the constants."""
    seeds = ", ".join(map(str, facts["seeds"]))
    machine = facts["machine"]
    heading = INTRODUCTION.format(**{**facts, "seeds": seeds, "cpu": machine["cpu"], "cores": machine["cores"]})
    return f"{heading}\n{tables(facts)}\n{_constants(tuning)}"


def _constants(tuning: Mapping[str, Any]) -> str:
    seeds = ", ".join(map(str, tuning["seeds"]))
    return CONSTANTS.format(**{**tuning, "seeds": seeds, "table": tuning_table(tuning)})


def tables(facts: Mapping[str, Any]) -> str:
    """Write what was promised, then a table for each trace."""
    parts = ["## What is promised", _missed(facts["aims"]), REASONS.strip(), markdown(aim_rows(facts["aims"]))]
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


def _missed(aims: Sequence[Mapping[str, Any]]) -> str:
    missed = [
        f"{one['aim']}{one['trace'] and ' of *' + one['trace'] + '*'} ({one['value']:.3f}, {_limit(one)})"
        for one in aims
        if not one["is_met"]
    ]
    return f"Missed: {'; '.join(missed)}." if missed else "Nothing was missed."


def order_rows(orders: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return a heading and one line per order."""
    return [
        ["order", *COLUMNS],
        *([name, *(form.format(**figures) for form in COLUMNS.values())] for name, figures in orders.items()),
    ]


def _limit(aim: Mapping[str, Any]) -> str:
    return f"≤ {aim['most']:g}" if aim["least"] is None else f"≥ {aim['least']:g}"
