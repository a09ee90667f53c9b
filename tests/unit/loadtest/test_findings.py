"""Findings are written where nothing was, as JSON that every reader takes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from loadtest.findings import write_findings


def test_findings_come_back_as_they_were_written(tmp_path: Path) -> None:
    """What was found lies where it should, in a folder that was not there."""
    path = tmp_path / "new" / "found.json"

    write_findings(path, {"carried_per_s": 3.5, "tries": [{"rate": 1}]})

    assert json.loads(path.read_text(encoding="utf-8")) == {"carried_per_s": 3.5, "tries": [{"rate": 1}]}


def test_a_figure_without_end_is_written_as_null(tmp_path: Path) -> None:
    """A rate that nobody missed is infinite, for which JSON has no word."""
    path = tmp_path / "found.json"

    write_findings(path, {"missed_per_s": math.inf})

    assert json.loads(path.read_text(encoding="utf-8")) == {"missed_per_s": None}


def test_a_figure_that_is_none_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """A figure that went wrong deep down is told, and what was found before stays."""
    path = tmp_path / "found.json"
    write_findings(path, {"tries": [1]})

    with pytest.raises(ValueError, match="JSON"):
        write_findings(path, {"tries": [math.nan]})

    assert json.loads(path.read_text(encoding="utf-8")) == {"tries": [1]}
