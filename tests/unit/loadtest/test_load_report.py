"""Reports of loads: goals, figures from canned records, and the files that are read again as others would."""

from __future__ import annotations

import csv
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadtest.openloop.drawing import bar_plot, line_plot, nice_ceiling
from loadtest.openloop.files import write_report
from loadtest.openloop.findings import by_tenant, error_samples, fairness, findings, queue_ages
from loadtest.openloop.ledger import reckon
from loadtest.openloop.order import Order
from loadtest.openloop.page import page
from loadtest.openloop.record import End, Record
from loadtest.openloop.run import Result
from loadtest.openloop.slo import UnreadableSlo, error_share, latencies_of, parse_slo, verdicts
from loadtest.openloop.speech import sample

FACTS = {
    "profile": "<poisson>",
    "target": "http://load.test",
    "started_at": "2026-11-21T12:00:00+00:00",
    "commit": "abc",
    "was_stopped": False,
}


def record(at_s: float, latency_s: float | None, *, tenant: str = "a", end: End = End.SUCCEEDED, **more: Any) -> Record:
    """Make a record of an order with its due time and latency."""
    ended_s = None if latency_s is None else at_s + latency_s
    return Record(order=Order(at_s=at_s, tenant=tenant), ended_s=ended_s, end=end, **more)


def test_goals_are_read_with_their_units() -> None:
    """Seconds, milliseconds and per cent are understood."""
    goals = parse_slo("p95=20s, p50=800ms,errors=0.1%")

    assert [(goal.rank, goal.limit) for goal in goals] == [(0.95, 20), (0.5, 0.8), (None, pytest.approx(0.001))]
    assert parse_slo("") == []


@pytest.mark.parametrize("text", ["p95", "p95=20", "p95=20m", "errors=1", "errors=..%", "speed=3s", "p950=1s"])
def test_a_goal_that_is_none_is_refused(text: str) -> None:
    """The part that cannot be read is named."""
    with pytest.raises(UnreadableSlo, match=text.replace(".", r"\.")):
        parse_slo(f"p50=1s,{text}")


def test_what_never_ended_counts_as_endless() -> None:
    """One of ten orders without an end misses every p95, but leaves the median alone."""
    records = [record(0, 1.0)] * 9 + [record(0, None, end=End.UNFINISHED)]

    p50, p95, errors = verdicts(parse_slo("p50=1s,p95=60s,errors=20%"), records)

    assert p50.is_met
    assert (p95.is_met, p95.found) == (False, math.inf)
    assert errors.is_met


def test_quick_failures_make_nothing_fast() -> None:
    """Refusals, failures, cancels and bad input are in no latency; all but the wanted ones are errors."""
    bad = Record(order=Order(at_s=0, tenant="a", is_bad=True), ended_s=0.1, end=End.REJECTED)
    records = [record(0, 2.0), record(0, 0.1, end=End.REFUSED), record(0, 0.1, end=End.CANCELLED), bad]

    assert latencies_of(records) == [2.0]
    assert error_share(records) == 0.25


def test_nothing_meets_no_goal() -> None:
    """A load without an order that ended proves nothing."""
    assert not any(each.is_met for each in verdicts(parse_slo("p95=60s,errors=50%"), []))


def test_the_queue_is_as_old_as_its_oldest_order() -> None:
    """An order counts from its due time, from acceptance until it was seen to begin."""
    records = [record(0, 9.0, accepted_s=1.0, started_s=5.0), record(2, 9.0, accepted_s=2.5, started_s=None)]

    assert queue_ages(records, [0, 1, 4, 6]) == [0, 1, 4, 4]


def test_fairness_is_one_where_all_wait_alike() -> None:
    """Jain's index of equal waits is 1; of one tenant who waits nine times as long, less."""
    even = [record(0, 2.0, tenant="a"), record(0, 2.0, tenant="b")]
    uneven = [record(0, 1.0, tenant="a"), record(0, 9.0, tenant="b")]

    assert fairness(by_tenant(even)) == 1.0
    assert fairness(by_tenant(uneven)) == pytest.approx(100 / (2 * 82), abs=1e-4)


def test_who_never_ends_waits_for_all() -> None:
    """A tenant whose orders never end makes the index the share of those like it, and is not left out of it."""
    records = [record(0, 2.0, tenant="a"), record(0, 2.0, tenant="b"), record(0, None, tenant="c", end=End.UNFINISHED)]

    assert fairness(by_tenant(records)) == pytest.approx(1 / 3, abs=1e-4)


def test_the_report_can_be_read_again(tmp_path: Path) -> None:
    """The JSON has the figures, the CSV a line per order, and every plot of the page is well-formed."""
    records = [
        record(at, 1.0 + at / 10, tenant=f"tenant <{at % 3}>", accepted_s=at + 0.1, started_s=at + 0.5, task_id=str(at))
        for at in range(20)
    ] + [record(20, 0.0, end=End.REFUSED, error="HTTP 429 & more", message="<b>too many</b>")]
    goals = verdicts(parse_slo("p95=2s"), records)
    found = findings(records, wall_s=23.0, not_sent=0, ledger=reckon(records, again={}), verdicts=goals)

    write_report(tmp_path, facts=FACTS, found=found, records=records)

    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (report["orders"], report["latency_s"]["p50"], report["ends"]["refused"]) == (21, 1.9, 1)
    assert report["errors"] == {"HTTP 429 & more": 1}
    assert report["error_samples"] == {"HTTP 429 & more": "<b>too many</b>"}
    assert sum(report["series"]["errors"]["HTTP 429 & more"]) == 1
    with (tmp_path / "orders.csv").open(encoding="utf-8", newline="") as file:
        assert [row["tenant"] for row in csv.DictReader(file)][:2] == ["tenant <0>", "tenant <1>"]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(plots_of(html)) == 6
    assert "missed: p95=2s, found 2.80 s" in Text.of(html)
    assert "tenant <2>" in Text.of(html)
    assert "<b>too many</b>" in Text.of(html)
    assert "http" not in html.replace("http://load.test", "")


def test_a_warm_up_is_sent_and_not_judged(tmp_path: Path) -> None:
    """What was due in the first seconds is in no figure and misses no goal; the ledger, plots and CSV have it."""
    slow = [record(at, 50.0, tenant="cold", error="slow", end=End.FAILED, task_id="1") for at in (0, 9)]
    records = [*slow, *[record(at, 1.0, task_id=str(at)) for at in (10, 15, 20)]]
    ledger = reckon(records, again={})
    result = Result(records=records, not_sent=0, wall_s=40.0, ledger=ledger, was_stopped=False, warm_up_s=10.0)

    found = result.found(parse_slo("p50=2s,errors=0%"))
    write_report(tmp_path, facts=FACTS, found=found, records=records)

    assert all(each["is_met"] for each in found["slo"])
    assert (found["orders"], found["warm_up"]) == (3, {"seconds": 10.0, "orders": 2})
    assert (found["offered_per_s"], found["succeeded_per_s"], found["latency_s"]["max"]) == (0.3, 0.1, 1.0)
    assert (found["errors"], list(found["tenants"]), found["error_share"]) == ({}, ["a"], 0.0)
    assert (found["ledger"]["accepted"], sum(found["series"]["due_per_s"])) == (5, 5 / found["series"]["width_s"])
    assert "sent before, in 10 s, not judged" in Text.of((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_the_first_message_of_each_kind_is_kept() -> None:
    """Of errors of one kind the report has what the server said first; of those without words, nothing."""
    records = [
        record(0, 0.1, end=End.REFUSED, error="HTTP 422"),
        record(1, 0.1, end=End.REFUSED, error="HTTP 422", message="prompt is required"),
        record(2, 0.1, end=End.REFUSED, error="HTTP 422", message="another"),
        record(3, 0.1, end=End.UNANSWERED, error="no answer in time"),
        record(4, 0.1, message="all is well"),
    ]

    assert error_samples(records) == {"HTTP 422": "prompt is required"}


def test_what_a_server_says_is_cut_and_can_be_printed() -> None:
    """Strangers write long, on many lines, and what moves a terminal's cursor."""
    assert sample("one\n  two\x1b[2J\u202e" + "x" * 500) == "one two[2J" + "x" * 190
    assert sample({"error": 1}) == ""


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    """A load that was stopped before its first order still has a page."""
    found = findings(
        [], wall_s=0.0, not_sent=5, ledger=reckon([], again={}), verdicts=verdicts(parse_slo("p95=2s"), [])
    )

    write_report(tmp_path, facts=FACTS | {"was_stopped": True}, found=found, records=[])

    text = Text.of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "stopped early: 5 orders were never sent" in text
    assert "nothing succeeded" in text


def test_what_never_ended_is_to_be_seen(tmp_path: Path) -> None:
    """Waits without end are no gaps and no zeros: plots mark them, tables and verdicts say so."""
    records = [record(0, None, end=End.UNFINISHED), record(5, 1.0, tenant="b")]
    goals = verdicts(parse_slo("p95=2s"), records)
    found = findings(records, wall_s=9.0, not_sent=0, ledger=reckon(records, again={}), verdicts=goals)

    write_report(tmp_path, facts=FACTS, found=found, records=records)

    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    waits = plots_of(html)[1]
    assert [each.get("class") for each in waits.iter("path") if each.get("class") == "endless"] == ["endless"] * 3
    assert "missed: p95=2s, too few succeeded" in Text.of(html)
    assert "▲ never ended" in Text.of(html)
    assert Text.of(html).count("never ended") == 2
    assert "never" in Text.of(html).partition("By tenant")[2].partition("b")[0]


def test_the_busiest_tenants_have_a_row() -> None:
    """Of very many tenants the page has those with the most orders, and says so; the figures have all."""
    records = [record(number, 1.0, tenant=f"tenant-{number % 200:03}") for number in range(290)]
    found = findings(records, wall_s=290.0, not_sent=0, ledger=reckon(records, again={}), verdicts=[])

    text = Text.of(page(FACTS, found)).partition("By tenant")[2].partition("Throughput")[0]

    assert len(found["tenants"]) == 200
    assert text.count("tenant-") == 50
    assert ("tenant-049" in text, "tenant-050" in text) == (True, False)
    assert "The 50 with the most orders of 200" in text


@pytest.mark.parametrize(
    ("started_s", "title"), [(2.0, "Age of the queue"), (5.0, "Age of the oldest order without an end")]
)
def test_the_age_of_the_queue_is_called_what_it_is(started_s: float, title: str) -> None:
    """Webhooks tell of ends alone: where nobody saw when orders were begun, their age is that of the unfinished."""
    records = [record(0, 5.0, accepted_s=0.1, started_s=started_s)] * 3
    found = findings(records, wall_s=9.0, not_sent=0, ledger=reckon(records, again={}), verdicts=[])

    assert title in Text.of(page(FACTS, found))


def test_plots_are_told_to_who_does_not_see_them() -> None:
    """Every plot is called by what it shows; bars are told with their values."""
    lines, bars = (
        line_plot({"p50 <s>": [1.0]}, at_s=[9], unit="seconds"),
        bar_plot({"a": 1.5, "b": None}, unit="orders"),
    )

    assert [plot.get("aria-label") for plot in plots_of(lines + bars)] == [
        "Lines over 9 s, seconds: p50 <s>",
        "Bars, orders: a 1.5, b none",
    ]


def test_as_many_kinds_of_errors_as_colours() -> None:
    """Of nine kinds the six most frequent have a line each, and the others share one."""
    records = [
        record(0, 0.0, end=End.REFUSED, error=f"HTTP {400 + kind}") for kind in range(9) for _ in range(kind + 1)
    ]
    found = findings(records, wall_s=1.0, not_sent=0, ledger=reckon(records, again={}), verdicts=[])

    text = Text.of(page(FACTS, found)).partition("Errors by kind")[2]

    assert [kind in text for kind in ("HTTP 408", "HTTP 403", "HTTP 402")] == [True, True, False]
    assert "3 more kinds" in text


@pytest.mark.parametrize(
    ("end_s", "marks"),
    [
        (9, "0 s 2 s 4 s 6 s 8 s"),
        (176, "0 s 50 s 100 s 150 s"),
        (3600, "0 min 10 min 20 min 30 min 40 min 50 min 60 min"),
        (28800, "0 h 2 h 4 h 6 h 8 h"),
    ],
)
def test_time_is_told_in_round_numbers(end_s: float, marks: str) -> None:
    """The marks of the time axis are round, few, and in the unit that a person would choose."""
    plot = line_plot({"due": [1.0, 1.0]}, at_s=[0, end_s], unit="orders")

    assert marks in Text.of(plot).replace("  ", " ")


def test_every_bar_has_its_whole_name() -> None:
    """Tenants whose names differ in their ends alone can be told apart, however many there are."""
    names = [f"tenant-{number:03}" for number in range(12)]

    text = Text.of(bar_plot(dict.fromkeys(names, 1.0), unit="seconds"))

    assert all(name in text for name in names)


def test_a_gap_in_a_line_is_no_line() -> None:
    """Where nothing was measured, the line is broken off and begins anew."""
    plot = line_plot({"p50": [1.0, None, 3.0, 4.0]}, at_s=[0, 1, 2, 3], unit="s")

    path = next(each for each in plots_of(plot)[0].iter("path") if each.get("stroke-width"))
    assert [step[0] for step in (path.get("d") or "").replace(" L", "|L").replace(" M", "|M").split("|")] == list("MML")


def test_axes_end_at_round_numbers() -> None:
    """The top of an axis is 1, 2 or 5 times a power of ten."""
    assert [nice_ceiling(value) for value in (0, 0.03, 1, 1.2, 4, 7, 130)] == [1, 0.05, 1, 2, 5, 10, 200]


def plots_of(page: str) -> list[ET.Element]:
    """Return every SVG of a page, parsed strictly."""
    parts = [part.partition("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
    return [ET.fromstring(f"<svg{part}") for part in parts]  # noqa: S314 -- written a moment ago, by us


class Text(HTMLParser):
    """Collects what a reader of a page sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_data(self, data: str) -> None:
        """Keep a piece of text."""
        self.seen.append(data)

    @classmethod
    def of(cls, page: str) -> str:
        """Return the text of a page."""
        reader = cls()
        reader.feed(page)
        return " ".join(reader.seen)
