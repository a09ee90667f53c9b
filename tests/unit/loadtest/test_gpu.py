"""The GPU's benchmark runs whole on a CPU with tiny weights, keeps to its time, and its rows make a cost table."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loadtest.fit_costs import table_of
from loadtest.gpu.__main__ import Bench, keeping, main
from loadtest.gpu.aims import PLAIN, WITH_ONE, told
from loadtest.gpu.ceiling import ROUNDS, sustained
from loadtest.gpu.deadline import Deadline
from loadtest.gpu.expectation import plan
from loadtest.gpu.geometry import GROUPS, SHAPES, SMALL_SHAPES, flops
from models.cost import read_costs

SYSTEMS = ["diffusers, eager", "ours, exact", "ours, compiled", "ours, compiled, FP8"]


def _run(tmp_path: Path, *options: str) -> tuple[dict[str, Any], dict[str, Any]]:
    output, rows = tmp_path / "gpu.json", tmp_path / "rows.json"
    main(["--small", "--output", str(output), "--rows", str(rows), *options])
    return json.loads(output.read_text()), json.loads(rows.read_text())


def test_all_of_it_runs(tmp_path: Path) -> None:
    """Every system draws every picture, nothing is left out, and a cost table can be fitted to the rows."""
    found, rows = _run(tmp_path)

    assert found["dropped"] == {}
    assert {aim["verdict"] for aim in found["aims"]} == {"not measured"}  # tiny pictures are not what is aimed at
    assert list(found["pictures"]) == SYSTEMS
    assert all(list(shapes) == [shape.name for shape in SMALL_SHAPES] for shapes in found["pictures"].values())
    assert all(each["step_ms"] > 0 < each["share"] for each in found["pictures"]["ours, exact"].values())
    assert {"commit", "command", "machine", "ceilings", "encoders"} <= found.keys()
    assert [each["samples"] for each in rows["steps"]] == [1, 1, 2]
    costs = read_costs(json.dumps(table_of(rows)))
    assert min(costs.decode_ms, costs.text_ms, costs.reference_ms, costs.style_ms) > 0


def test_what_has_no_time_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run without any time measures nothing, names every part that is missing, and still writes its files."""
    found, rows = _run(tmp_path, "--seconds", "-1")

    assert all(shapes == {} for shapes in found["pictures"].values())
    assert {"ceilings", "decodes", "texts", f"diffusers, eager, {SMALL_SHAPES[0].name}"} <= found["dropped"].keys()
    assert rows["steps"] == []
    assert "left out: ceilings" in capsys.readouterr().out


def test_what_was_found_is_kept_part_by_part(tmp_path: Path) -> None:
    """A command that is ended on its way leaves what it had found, and names the part that failed before."""
    output, rows = tmp_path / "gpu.json", tmp_path / "rows.json"
    bench = Bench(is_small=True, device="cpu", deadline=Deadline(60.0))
    bench.deadline.after = keeping(bench, output=output, rows=rows, told="--small")

    bench.deadline.attempt("fails", lambda: 1 / 0)
    with pytest.raises(KeyboardInterrupt):
        bench.deadline.attempt("ends all", partial(_find_and_end, bench))

    found = json.loads(output.read_text())
    assert found["dropped"] == {"fails": "ZeroDivisionError: division by zero"}
    assert json.loads(rows.read_text())["steps"] == [{"tokens": 8, "samples": 2, "ms": 1.0}]


def _find_and_end(bench: Bench) -> None:
    bench.groups.append({"tokens": 8, "samples": 2, "ms": 1.0, "peak_bytes": None})
    raise KeyboardInterrupt


def test_the_plan_keeps_to_ten_minutes() -> None:
    """By the cost table the whole command takes less than ten minutes of an H100, and every system has its place."""
    parts = dict(plan(steps=31, rounds=9))

    assert 0 < sum(parts.values()) < 600
    assert len(parts) == 3 + 2 + len(SYSTEMS) * len(SHAPES) + len(GROUPS)


def test_a_part_begins_only_with_time_for_it() -> None:
    """Parts end within the time; one that fails is named with its reason, and the next goes on."""
    now_s = 0.0
    deadline = Deadline(10.0, clock=lambda: now_s)

    done = deadline.attempt("fits", lambda: "done", needs_s=10)
    deadline.attempt("too long", lambda: "never", needs_s=11)
    deadline.attempt("fails", lambda: 1 / 0, needs_s=1)

    assert done == "done"
    assert deadline.dropped == {
        "too long": "may need 11 s, 10 s were left",
        "fails": "ZeroDivisionError: division by zero",
    }


def test_a_ceiling_is_kept_up() -> None:
    """Work is done again until it has taken as long as was asked for, and as often as it is said to have been."""
    done: list[int] = []

    rounds, took_s = sustained(lambda: done.append(sum(range(2000))), device="cpu", seconds=0.005)

    assert took_s >= 0.005
    assert len(done) == rounds + rounds // ROUNDS  # each batch begins with one that is not counted


def test_aims_are_met_missed_or_not_measured() -> None:
    """Each aim is held against its figure; one that nothing was measured for is said to be open."""
    plain, with_one = {"picture_s": 3.2, "share": 0.79}, {"picture_s": 4.3, "share": 0.8}
    pictures = {"ours, exact": {PLAIN: plain, WITH_ONE: with_one}, "diffusers, eager": {PLAIN: {"picture_s": 6.4}}}

    lines = told({"pictures": pictures})

    assert lines == [
        "met: 1024x1024, exact, s ≤ 3.3, measured 3.20",
        "missed: the same with one reference, s ≤ 4.2, measured 4.30",
        "not measured: 1024x1024, FP8, s ≤ 2.9",
        "missed: 1024x1024, exact, share of the ceiling ≥ 0.8, measured 0.79",
        "met: 1024x1024, eager diffusers / ours, exact ≥ 2, measured 2.00",
    ]


def test_operations_are_those_of_the_papers() -> None:
    """A step of 1024x1024 of FLUX.1-dev is 74.4 TFLOP, as others count it too."""
    operations = flops(_Dev, 4608)

    assert operations == pytest.approx(74.4e12, rel=1e-3)
    assert [shape.side for shape in SHAPES].count(1024) == 3


class _Dev:
    """The sizes of FLUX.1-dev."""

    num_attention_heads, attention_head_dim, num_layers, num_single_layers = 24, 128, 19, 38
