"""The benchmark of a step runs, and times two transformers that predict the same."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from typer.testing import CliRunner

from loadtest.machine import MODEL_PACKAGES
from loadtest.step import PARITY, app
from loadtest.step_page import page


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


def test_the_page_hangs_on_what_was_noted() -> None:
    """It says that a machine was quiet only where its load average was low, and that the goal is reached if it is."""
    facts = json.loads(Path("docs/benchmarks/step.json").read_text(encoding="utf-8"))
    shared = {**facts, "machine": {**facts["machine"], "load_average_at_start": 5.0}}
    quiet = {**facts, "machine": {**facts["machine"], "load_average_at_start": 0.2, "torch": "9.9"}}

    busy, calm = page(shared), page({**quiet, "ratio": {"median": 1.31, "low": 1.0, "high": 1.5}})

    assert "the load average was 5 before it began: something else ran on it then" in busy
    assert "torch 9.9, " in calm
    assert "nothing else was running on it" in calm
    assert "is reached" in calm


def test_the_page_is_made_from_its_figures() -> None:
    """The page in the documentation is what the command makes of the JSON beside it."""
    facts = json.loads(Path("docs/benchmarks/step.json").read_text(encoding="utf-8"))

    assert Path("docs/benchmarks/step.md").read_text(encoding="utf-8") == page(facts)
