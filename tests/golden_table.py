"""A pytest plugin: the table of how far each golden comparison was from its recorded value, at the end of a run.

Comparisons travel with their test's report, which comes back from whichever worker ran it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pytest

#: Under which name a test's report carries a comparison.
PROPERTY = "golden difference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One comparison with a recorded value."""

    #: What was compared; the table has one row per group.
    group: str
    #: Largest absolute difference of any element.
    largest: float
    #: The largest that would have passed.
    limit: float


def remember(request: pytest.FixtureRequest, measured: Measured) -> None:
    """Put a comparison on the report of the test that asks."""
    request.node.user_properties.append((PROPERTY, asdict(measured)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how far each group was from its recorded values."""
    measured = _measured(terminalreporter)
    if not measured:
        return
    terminalreporter.section("golden differences")
    width = max(len(each.group) for each in measured)
    terminalreporter.line(f"{'group':<{width}} | cases | largest difference | limit")
    for group in sorted({each.group for each in measured}):
        cases = [each for each in measured if each.group == group]
        largest, limit = max(each.largest for each in cases), max(each.limit for each in cases)
        terminalreporter.line(f"{group:<{width}} | {len(cases):5} | {largest:18.3g} | {limit:.3g}")


def _measured(reporter: pytest.TerminalReporter) -> list[Measured]:
    reports = [report for kind in ("passed", "failed") for report in reporter.getreports(kind) if report.when == "call"]
    return [Measured(**found) for report in reports for name, found in report.user_properties if name == PROPERTY]
