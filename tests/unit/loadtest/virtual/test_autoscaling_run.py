"""The benchmark of scaling tells rules apart, and writes what it found."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from loadtest.autoscaling import COLUMNS, TRACES, app


def test_every_rule_lives_through_every_trace(tmp_path: Path) -> None:
    """A few minutes of every trace give a figure for every column of every rule; whoever never scales never changes."""
    output = tmp_path / "autoscaling.json"

    asked = CliRunner().invoke(app, ["--output", str(output), "--hours", "0.05", "--seeds", "1"])

    found = json.loads(output.read_text(encoding="utf-8"))["figures"]
    assert asked.exit_code == 0
    assert {each["trace"] for each in found} == set(TRACES)
    assert all(COLUMNS.keys() <= each.keys() for each in found)
    assert {each["changes"] for each in found if each["rule"].endswith("always")} == {0}
    assert asked.output.count("ours, wait 30 s, capacity 4") == len(TRACES)
