"""The benchmark's figures as Markdown, and as the page that docs/ shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.figures import markdown
from loadtest.scheduler.orders import FIFO, ONE_AT_A_TIME, OURS
from loadtest.scheduler.reasons import reasons
from models.policy import MARGIN, MOST_DEBT_S, SHARE, SLACK_FACTOR, USUAL, patience_s

#: Columns of an order's figures: what is written above, and what is written of them.
COLUMNS: Mapping[str, str] = {
    "goodput": "{goodput:.3f} ± {goodput_error:.3f}",
    "of the bound": "{of_bound:.3f}",
    "of who knows the future": "{of_reached:.3f}",
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
#: Those that mean something only for orders that step one picture at a time.
ALONE = frozenset({"of the bound", "of who knows the future"})


INTRODUCTION = """# Which order of steps serves best?

`{command}`, commit `{commit}`, {cpu}, {cores} cores with a load average of {load:.2f} before it began.
`python -m loadtest.scheduler page` made this page from what it wrote, [scheduler.json](scheduler.json). The clock is
virtual, so only the time of a decision depends on the machine: the real engine with the real policy, before one device
whose steps take what the cost table says ({costs}). {requests} requests for each trace (a quarter of them where all
come at once) and the seeds {seeds}, on which no constant was chosen. The mix of references is an assumption; the rest
follows a published trace (`loadtest/scheduler/arrivals.py`).

A slowdown is the time from asking to the last picture over the time alone. Goodput is the share of requests that end
within three times their time alone, or within 2 s of that, with its standard error, as if every request were drawn by
itself; they share queues, so it is rather more. Fairness is Jain's index over the tenants' mean speeds. Wasted is the
share of the device's work on requests that were taken back before they ended; these, and whoever floods, are in no
other figure. Where estimates are off, every request takes up to 20 % more or less than the table says, and nobody is
told; its own steps show it.

Goodput is held against two figures, both for one device that steps one picture at a time and whose work may be
interrupted at any moment. The bound is what no order can exceed: requests shortest first, each as much of it as fits
beside those before, and a part of one counts as that part. For parts that way is optimal, so whole requests cannot do
better (`loadtest/scheduler/bound.py` has the argument). Who knows the future takes requests shortest first, too, but
whole or not at all: each that can still be in time together with all that were taken before, if what is due first is
done first. All that it takes can be in time; whether another choice could have more is not known, so the best order
lies between the two. No order has a lower mean latency, one at a time, than shortest first by true times.

Orders that share calls get more done in a second than both figures count on, so neither says anything of them, and
their cells are empty.

A window cannot stop what runs in its batch: what was taken back meanwhile ends all the same, and is not counted as
wasted. Sharing calls with company that is not one's own delays whoever leads and saves little at most sizes. Ours in
groups therefore shares among the pictures of one request, and with strangers only where that spares all others
{margin:g} times what it costs those in the call.

The order sees all that waits here. A real replica sees what it has claimed, so on a cluster these figures are what
the order can do, not what a caller measures.

## What it costs

Only slowdowns are promised, so large work waits for small: the p99 of the latencies is {waits}. None of it starves. A
request counts as waiting from when it was asked for, or later where its tenant had asked for much before, by
{debt:g} s at most; and nothing is put before it that counts from later than ({slack:g} + {rush:g} + {postponing:g})
times the seconds that it takes alone after that, and a second or two more where these are few. For a request of 10 s,
that is {patience:.0f} minutes.

![p95 of the slowdowns by load](scheduler.svg)
"""


CONSTANTS = """## How the constants were chosen

`{command}`, commit `{commit}`, on the training seeds {seeds}. In each cell: goodput; slowdown, its mean, p95 and p99.
The first line is what `models/policy.py` has, the others are what else was tried, one constant at a time: the weights,
one picture at a time, then what strangers must spare others to share a call, in groups of 8; with `inf` none shares.
They were chosen by goodput first, as far as the p99, and a flood in the p95 of those beside it, are felt no more than
is promised. Within how many times its time alone a request counts as in time, and how long a flood is held against its
tenant at most, are promises, and were not chosen by figures.

{table}
{margins}"""


def page(facts: Mapping[str, Any], tuning: Mapping[str, Any]) -> str:
    """Write the whole page: how it was measured, what is promised and missed, every trace, and the constants."""
    heading = INTRODUCTION.format(
        **{**facts, "seeds": ", ".join(map(str, facts["seeds"]))},
        cpu=facts["machine"]["cpu"],
        cores=facts["machine"]["cores"],
        load=facts["machine"]["load_average_at_start"],
        waits=_waits(facts["traces"]),
        margin=MARGIN,
        debt=MOST_DEBT_S,
        slack=SLACK_FACTOR,
        rush=USUAL.rush,
        postponing=USUAL.postponing,
        patience=patience_s(10.0) / 60,
    )
    return f"{heading}\n{tables(facts)}\n{_constants(tuning)}"


def _constants(tuning: Mapping[str, Any]) -> str:
    seeds = ", ".join(map(str, tuning["seeds"]))
    table, margins = tuning_table(tuning), margins_table(tuning)
    return CONSTANTS.format(**{**tuning, "seeds": seeds, "table": table, "margins": margins})


def _waits(traces: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how much longer the slowest wait than under first come, first served."""
    times = {
        trace["load"]: trace["orders"][OURS]["latency_p99_s"] / trace["orders"][FIFO]["latency_p99_s"]
        for name, trace in traces.items()
        if name in {"Poisson, load 0.8", "Poisson, load 0.95"}
    }
    return " and ".join(f"{each:.1f} times FIFO's at load {load:g}" for load, each in times.items())


def tables(facts: Mapping[str, Any]) -> str:
    """Write what was promised, then a table for each trace."""
    parts = ["## What is promised", _missed(facts["aims"]), reasons(facts), markdown(aim_rows(facts["aims"]))]
    parts += [_decided(facts["decisions"])]
    for name, trace in facts["traces"].items():
        reached = (
            f"No order exceeds a goodput of {trace['bound']:.3f}; who knows the future reaches {trace['reached']:.3f}."
        )
        parts += [f"## {name[0].upper()}{name[1:]}", reached, markdown(order_rows(trace["orders"]))]
    return "\n\n".join(parts) + "\n"


def _decided(decisions: Mapping[str, Any]) -> str:
    machine = decisions["machine"]
    load, cores = machine["load_average_at_start"], machine["cores"]
    return (
        f"Decisions: `{decisions['command']}`, commit `{decisions['commit']}`, {machine['cpu']}, {cores} cores with a "
        f"load average of {load:.2f} before it began; the median of process time, among a thousand lone pictures."
    )


def tuning_tables(facts: Mapping[str, Any]) -> str:
    """Write both tables of other constants."""
    return f"{tuning_table(facts)}\n{margins_table(facts)}"


def margins_table(facts: Mapping[str, Any]) -> str:
    """Write what other margins come to, in groups; figures as for the other constants."""
    traces = list(facts["margins"][0]["traces"])
    tried = sorted(facts["margins"], key=lambda row: row["margin"] != f"{MARGIN:g}")
    rows = [[row["margin"], *(row["traces"][name] for name in traces)] for row in tried]
    return markdown([["margin", *traces], *rows]) + "\n"


def tuning_table(facts: Mapping[str, Any]) -> str:
    """Write what other constants come to: for every trace, goodput, and the slowdowns' mean and 95th percentile."""
    traces = list(facts["rows"][0]["traces"])
    rows = [
        [f"{row['rush']:g}", f"{row['postponing']:g}", f"{row['share']:g}", *(row["traces"][name] for name in traces)]
        for row in sorted(facts["rows"], key=_is_other)
    ]
    return markdown([["rush", "postponing", "share", *traces], *rows]) + "\n"


def _is_other(row: Mapping[str, Any]) -> bool:
    return (row["rush"], row["postponing"], row["share"]) != (USUAL.rush, USUAL.postponing, SHARE)


def aim_rows(aims: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a heading and one line per aim."""
    return [["aim", "trace", "value", "limit", "met"], *map(_aim_row, aims)]


def _aim_row(one: Mapping[str, Any]) -> list[str]:
    error = "" if one["error"] is None else f" ± {one['error']:.3f}"
    return [one["aim"], one["trace"], f"{one['value']:.3f}{error}", _limit(one), "yes" if one["is_met"] else "**no**"]


def _missed(aims: Sequence[Mapping[str, Any]]) -> str:
    missed = [
        f"{one['aim']}{one['trace'] and ' of *' + one['trace'] + '*'} ({one['value']:.3f}, {_limit(one)})"
        for one in aims
        if not one["is_met"]
    ]
    return f"Missed: {'; '.join(missed)}." if missed else "Nothing was missed."


def order_rows(orders: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return a heading and one line per order."""
    return [["order", *COLUMNS], *([name, *_cells(name, figures)] for name, figures in orders.items())]


def _cells(order: str, figures: Mapping[str, float]) -> list[str]:
    return [
        "" if column in ALONE and order not in ONE_AT_A_TIME else form.format(**figures)
        for column, form in COLUMNS.items()
    ]


def _limit(aim: Mapping[str, Any]) -> str:
    return f"≤ {aim['most']:g}" if aim["least"] is None else f"≥ {aim['least']:g}"
