"""Options of the load test's commands: what none of them takes."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from loadtest import plan
from loadtest.__main__ import app
from loadtest.exits import UNUSABLE


@pytest.mark.parametrize("number", ["inf", "nan", "1e400"])
@pytest.mark.parametrize(
    "words",
    [
        "run poisson --key k --speed",
        "find-capacity poisson --key k --start",
        "trace make --output nowhere.jsonl --seconds",
        "trace make --output nowhere.jsonl --rate",
        "ceiling --seconds",
    ],
)
def test_what_is_no_number_is_refused(words: str, number: str) -> None:
    """Infinity would be drawn for ever, and NaN is within every bound."""
    refused = CliRunner().invoke(app, [*words.split(), number])

    assert refused.exit_code == UNUSABLE
    assert "Invalid value" in refused.output


def test_a_price_without_end_is_refused() -> None:
    """What a plan would cost is to be a number."""
    refused = CliRunner().invoke(plan.app, ["poisson", "--gpu-hour", "inf"])

    assert refused.exit_code == UNUSABLE


def test_a_trace_that_never_ends_is_not_begun() -> None:
    """A trace of more orders than fit into memory is refused in a line."""
    refused = CliRunner().invoke(app, ["trace", "make", "--output", "nowhere.jsonl", "--seconds", "1e12"])

    assert refused.exit_code == UNUSABLE
    assert "more than the 2,000,000 of one load" in refused.output
