"""A load test's report as a person meets it, in a real browser, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from playwright.sync_api import Browser, Page

from loadtest.openloop.files import write_report
from loadtest.openloop.findings import findings
from loadtest.openloop.ledger import reckon
from loadtest.openloop.order import Order
from loadtest.openloop.record import End, Record
from loadtest.openloop.slo import parse_slo, verdicts

DESK, PHONE = 1280, 390
FACTS = {
    "profile": "mixed",
    "target": "http://load.test/of/a/rather/long/address/that/has/no/end",
    "started_at": "2026-11-21T12:00:00+00:00",
    "commit": "abc",
    "was_stopped": False,
}
PLOTS = 6
#: Pixels below which a letter is no longer read.
LEGIBLE_PX = 9
#: What was drawn into each plot beside its grid, how high its letters are, and which of its words lie on one another.
LOOK = """
plot => {
  const seen = each => { const box = each.getBoundingClientRect(); return box.width > 0 || box.height > 0; };
  const boxes = [...plot.querySelectorAll('text')].map(each => [each.textContent, each.getBoundingClientRect()]);
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom - 2 && b.top < a.bottom - 2;
  const frame = plot.getBoundingClientRect();
  return {
    drawn: [...plot.querySelectorAll('circle, rect:not(.room), path.endless')].filter(seen).length,
    letters_px: Math.min(...boxes.map(([, box]) => box.height)) / 1.15,
    overlapping: boxes.flatMap(
      ([one, a], n) => boxes.slice(n + 1).filter(([, b]) => meet(a, b)).map(([two]) => `${one} on ${two}`)),
    outside: boxes.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1).map(([text]) => text),
  };
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser without a window."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Write the report of a load of twelve tenants in which everything happened."""
    ends = [End.SUCCEEDED] * 6 + [End.FAILED, End.CANCELLED, End.REFUSED, End.UNANSWERED, End.UNFINISHED, End.LOST]
    records = [
        Record(
            order=Order(at_s=number * 1.5, tenant=f"tenant-{number % 13:03}"),
            accepted_s=number * 1.5 + 0.1,
            started_s=number * 1.5 + number % 9,
            ended_s=None if end is End.UNFINISHED else number * 1.5 + 10 + number % 9,
            end=end,
            error="" if end in {End.SUCCEEDED, End.CANCELLED} else f"{end} for one of several reasons",
            task_id=str(number),
        )
        for number, end in enumerate(ends * 10)
    ]
    goals = verdicts(parse_slo("p95=20s,errors=0.1%"), records)
    found = findings(records, wall_s=190.0, not_sent=0, ledger=reckon(records, again={}), verdicts=goals)
    write_report(tmp_path, facts=FACTS, found=found, records=records)
    return tmp_path / "report.html"


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_every_plot_can_be_read(browser: Browser, report: Path, width: int) -> None:
    """Each plot drew something in letters that can be read, none on another; the page is as wide as the screen."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints = complaints_of(page)

    page.goto(report.as_uri())

    plots: list[dict[str, Any]] = page.locator("svg").evaluate_all(f"plots => plots.map({LOOK})")
    assert len(plots) == PLOTS
    assert all(plot["drawn"] >= 6 for plot in plots), plots
    assert min(plot["letters_px"] for plot in plots) >= LEGIBLE_PX
    assert [plot["overlapping"] + plot["outside"] for plot in plots] == [[]] * PLOTS
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert complaints == []
    page.close()


def complaints_of(page: Page) -> list[str]:
    """Collect whatever a page complains of, and every address beside its own file that it asks for."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("file:") else complaints.append(request.url))
    return complaints
