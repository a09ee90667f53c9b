"""Options of the load test's commands: what none of them takes, and how keys are given."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest import plan
from loadtest.__main__ import app
from loadtest.exits import UNUSABLE
from loadtest.options import command_of, keys_of


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


@pytest.mark.parametrize("text", ["a,b", " a , b ,", "a\nb\n", "a, b"])
def test_keys_are_taken_apart_alike(text: str) -> None:
    """Commas, blanks after them, and a file with a key in each line all name the same keys."""
    assert keys_of(text) == ["a", "b"]


def test_no_key_is_one_that_is_empty() -> None:
    """A server that asks for none is called all the same."""
    assert keys_of(" ,") == [""]


def test_a_command_is_written_down_to_be_given_again() -> None:
    """Every option that was given stands there as a shell takes it, and no key does."""
    command = command_of(
        "run", "my load.yaml", keys=["one", "two"], options={"slo": "p95=20s", "speed": 2.0, "output": None}
    )

    assert command == "python -m loadtest run 'my load.yaml' --key KEY,KEY --slo p95=20s --speed 2.0"


@pytest.mark.parametrize("command", ["run", "find-capacity"])
def test_keys_may_come_from_the_environment(tmp_path: Path, command: str) -> None:
    """What everybody sees in the list of processes is then without a secret."""
    words = [command, "poisson", "--target", "http://127.0.0.1:9", "--output", str(tmp_path / "found")]

    without = CliRunner(env={"WAVESPEED_API_KEY": None}).invoke(app, words)
    asked = CliRunner(env={"WAVESPEED_API_KEY": "secret"}).invoke(app, words)

    assert "WAVESPEED_API_KEY" in without.output
    assert asked.output.splitlines()[-1].startswith("http://127.0.0.1:9: no connection")


def test_a_price_without_end_is_refused() -> None:
    """What a plan would cost is to be a number."""
    refused = CliRunner().invoke(plan.app, ["poisson", "--gpu-hour", "inf"])

    assert refused.exit_code == UNUSABLE


def test_a_trace_that_never_ends_is_not_begun() -> None:
    """A trace of more orders than fit into memory is refused in a line."""
    refused = CliRunner().invoke(app, ["trace", "make", "--output", "nowhere.jsonl", "--seconds", "1e12"])

    assert refused.exit_code == UNUSABLE
    assert "more than the 2,000,000 of one load" in refused.output
