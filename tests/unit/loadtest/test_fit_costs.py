"""Fitting finds the figures that rows were made with, and the shipped table is what its command makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loadtest.exits import UNUSABLE
from loadtest.fit_costs import app, table_of
from models.cost import CostTable, read_costs

ROOT = Path(__file__).parents[3]
TRUTH = CostTable(
    device="a device",
    step_ms=5,
    row_ms=1,
    kilotoken_ms=20,
    megapair_ms=1.5,
    decode_ms=25,
    text_ms=6,
    reference_ms=4,
    style_ms=0,
    source="made up",
)


def rows_of(costs: CostTable) -> dict[str, Any]:
    """Measure a device that behaves exactly like a table and has no styles."""
    shapes = [(tokens, rows) for tokens in (600, 2000, 5000) for rows in (1, 2, 4)]
    return {
        "device": costs.device,
        "source": "made up",
        "steps": [{"tokens": tokens, "samples": rows, "ms": costs.step(tokens, rows=rows)} for tokens, rows in shapes],
        "decodes": [{"pixels": 512**2, "ms": costs.decode(512**2)}],
        "texts": [{"ms": 5}, {"ms": 7}],
        "references": [{"tokens": 500, "ms": 2}],
        "styles": [],
    }


def test_rows_of_a_table_give_it_back() -> None:
    """What was measured on a device that follows the model is fitted exactly."""
    fitted = read_costs(json.dumps(table_of(rows_of(TRUTH))))

    assert fitted == TRUTH


def test_no_figure_is_negative() -> None:
    """Rows that bend the other way are fitted with 0, as well as can be."""
    rows = rows_of(TRUTH)
    rows["steps"] = [{"tokens": tokens, "samples": 1, "ms": tokens**0.5} for tokens in (600, 2000, 5000)]

    costs = table_of(rows)["costs"]

    assert min(costs.values()) == 0
    assert costs["kilotoken_ms"] > 0


def test_rows_of_lone_samples_say_nothing_of_groups() -> None:
    """What is the same in every measured call counts once a call, and not half of it again for every sample."""
    rows = rows_of(TRUTH)
    rows["steps"] = [row for row in rows["steps"] if row["samples"] == 1]

    costs = table_of(rows)["costs"]

    assert costs["row_ms"] == 0
    assert costs["step_ms"] == pytest.approx(TRUTH.step_ms + TRUTH.row_ms)


@pytest.mark.parametrize(("table", "rows"), [("h100_tile_model", "tile_model_rows")])
def test_a_shipped_table_is_what_its_rows_give(table: str, rows: str) -> None:
    """Whoever runs the command on the rows beside the benchmarks gets the table that is shipped."""
    measured = json.loads((ROOT / "docs" / "benchmarks" / f"{rows}.json").read_text(encoding="utf-8"))
    shipped = json.loads((ROOT / "models" / "costs" / f"{table}.json").read_text(encoding="utf-8"))

    fitted = table_of(measured)

    assert fitted["costs"] == pytest.approx(shipped["costs"])
    assert fitted["source"] == shipped["source"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (None, "rows.json: cannot be read (No such file or directory)"),
        ("no JSON", "the file: Invalid JSON"),
        ("[]", "the file: Input should be an object"),
        (json.dumps(rows_of(TRUTH) | {"steps": []}), "none was measured, as in a run that had to leave"),
        (json.dumps({"steps": [{"tokens": 600, "samples": 1, "ms": 5}]}), "device: Field required"),
        (json.dumps(rows_of(TRUTH) | {"steps": [{"tokens": 600, "samples": 1}]}), "steps.0.ms: Field required"),
        (json.dumps(rows_of(TRUTH) | {"steps": [{"tokens": 600, "samples": 1, "ms": 0}]}), "steps.0.ms: Input should"),
    ],
)
def test_rows_that_give_no_table_are_one_clear_line(tmp_path: Path, rows: str | None, told: str) -> None:
    """A run that was cut short, and what is no run at all, is named with what is missing; no table is written."""
    measured, output = tmp_path / "rows.json", tmp_path / "costs.json"
    if rows is not None:
        measured.write_text(rows, encoding="utf-8")

    asked = CliRunner().invoke(app, [str(measured), "--output", str(output)])

    assert (asked.exit_code, asked.output.count("\n"), output.exists()) == (UNUSABLE, 1, False)
    assert told in asked.output


def test_rows_become_a_table(tmp_path: Path) -> None:
    """The command writes the table that the rows were made with, and says how near it is."""
    measured, output = tmp_path / "rows.json", tmp_path / "new" / "costs.json"
    measured.write_text(json.dumps(rows_of(TRUTH)), encoding="utf-8")

    asked = CliRunner().invoke(app, [str(measured), "--output", str(output)])

    assert (asked.exit_code, read_costs(output.read_text(encoding="utf-8"))) == (0, TRUTH)
    assert asked.output.startswith("9 steps; the table is off by")
