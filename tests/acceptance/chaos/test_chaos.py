"""Everything is killed, stopped and cut off while a load client keeps its own ledger; what was promised holds.

And the proof that this can fail: seven planted bugs, each of which has to be found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from acceptance.chaos.bugs import Bug
from acceptance.chaos.plan import EVERYTHING_SOON, ONLY_PROCESSES, Plan, chaos, planted
from acceptance.chaos.report import Report, report_of, violations_of, write_tables
from acceptance.chaos.scene import perform
from postgresql_server import PostgresServer, require_postgresql

#: Seconds for one run on two cores that are shared with other work; alone it takes a third.
PATIENCE_S = 600
#: Promises of which each bug has to be found to break one; it may break others too.
FOUND_BY = {
    Bug.ANSWER_BEFORE_COMMIT: {"I1"},
    Bug.NO_FENCE: {"I2", "I7"},
    Bug.WALL_CLOCK: {"I7"},
    Bug.UNVERIFIED_UPLOAD: {"I3"},
    Bug.NO_UNIQUE_INDEX: {"I4"},
    Bug.SWALLOWED_CANCEL: {"I10"},
    Bug.BLIND_DELIVERY: {"I6"},
}

pytestmark = pytest.mark.timeout(PATIENCE_S)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Return a PostgreSQL server that may be killed."""
    require_postgresql()
    server = PostgresServer(durable=True)
    try:
        server.start()
        yield server
    finally:
        server.close()


def run(plan: Plan, folder: Path, server: PostgresServer | None = None) -> Report:
    """Carry out a plan, show its tables where somebody looks, and return its report."""
    outcome = asyncio.run(perform(plan, folder, server=server, tell=print))
    report = report_of(plan.name, outcome)
    print(write_tables(report))  # noqa: T201 -- pytest shows it when the test fails
    return report


def test_nothing_is_lost_on_postgresql(server: PostgresServer, tmp_path: Path) -> None:
    """With every process and the database dying, and the network in between, every promise holds."""
    # No life so long that few end at their point where the next one is slow to begin.
    plan = replace(chaos(250, over_s=36, pace=EVERYTHING_SOON), crash_after_s=(3.0, 8.0))

    report = run(plan, tmp_path, server)

    assert violations_of(report) == {}
    assert report["figures"]["submits answered 500"] == 0
    fired = report["faults"]
    hit = {name.split()[0].rstrip(":") for name in fired}
    assert hit == {"database", "gateway", "housekeeper", "proxy", "receiver", "replica"}
    assert sum(times for name, times in fired.items() if name.startswith("gateway died")) >= 3


def test_nothing_is_lost_on_sqlite(tmp_path: Path) -> None:
    """With every process dying, every promise holds."""
    report = run(chaos(120, over_s=10, pace=ONLY_PROCESSES), tmp_path)

    assert violations_of(report) == {}
    assert report["figures"]["submits answered 500"] == 0


def test_nothing_is_found_where_nothing_was_planted(tmp_path: Path) -> None:
    """The run that finds planted bugs finds none where there is none."""
    report = run(planted(None), tmp_path)

    assert violations_of(report) == {}


@pytest.mark.parametrize("bug", sorted(set(Bug) - {Bug.NO_UNIQUE_INDEX}))
def test_a_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    """A bug of the kind that loses, doubles or invents something is found by the promise that it breaks."""
    report = run(planted(bug), tmp_path)

    assert FOUND_BY[bug] & violations_of(report).keys()


def test_racing_copies_are_found_where_nothing_keeps_them_apart(server: PostgresServer, tmp_path: Path) -> None:
    """Without index and lock, copies of one call make several tasks, and that is found; SQLite has one writer."""
    report = run(planted(Bug.NO_UNIQUE_INDEX), tmp_path, server)

    assert FOUND_BY[Bug.NO_UNIQUE_INDEX] & violations_of(report).keys()
