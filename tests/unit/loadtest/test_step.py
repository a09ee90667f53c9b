"""The benchmark of a step runs, and times two transformers that predict the same."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from typer.testing import CliRunner

from loadtest.machine import MODEL_PACKAGES
from loadtest.step import PARITY, app


def test_both_predict_the_same_before_they_are_timed(tmp_path: Path) -> None:
    """Its small mode writes as many figures of each as there are rounds, and a difference of rounding alone."""
    output = tmp_path / "step.json"

    result = CliRunner().invoke(app, ["--small", "--rounds", "2", "--output", str(output)])

    assert result.exit_code == 0, result.output
    found = json.loads(output.read_text())
    assert {name: len(ms) for name, ms in found["cpu_ms"].items()} == {"diffusers": 2, "ours": 2}
    assert 0 < found["relative_difference"] <= PARITY
    assert found["tokens"] == 640
    assert {name: found["machine"][name] for name in MODEL_PACKAGES} == {each: version(each) for each in MODEL_PACKAGES}
    assert found["command"] == f"python -m loadtest.step --rounds 2 --output {output} --small"
