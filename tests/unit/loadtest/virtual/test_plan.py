"""A plan is the smallest fleet that keeps the goals, with its price; what cannot be planned says so in one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from loadtest.__main__ import app as loadtest
from loadtest.exits import MISSED, UNUSABLE
from loadtest.openloop.profile import PROFILES
from loadtest.plan import app
from loadtest.virtual.fleet_words import UnreadableFleet, parse_fleet
from models.cost import cost_table

TRACE = '{"trace": 1, "made_by": "a test"}\n' + "".join(
    json.dumps({"at_s": number * 0.7, "tenant": f"t{number % 3}", "width": 512, "height": 512}) + "\n"
    for number in range(40)
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Write a trace of equal orders, one every 0.7 s; each takes a device for about 1.9 s."""
    path = tmp_path / "even.jsonl"
    path.write_text(TRACE, encoding="utf-8")
    return path


def planned(*words: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_smallest_fleet_is_found(trace: Path, tmp_path: Path) -> None:
    """One replica fewer than the answer misses a goal that the answer meets, and everything is written down."""
    asked = planned(trace, "--slo", "p95=3s,errors=0.1%", "--gpu-hour", "2.5", "--output", tmp_path)

    report = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    first, *others = report["fleets"]
    assert asked.exit_code == 0
    assert f"{first['replicas_most']} replicas are the fewest that meet the goals" in asked.output
    assert first["meets"]
    assert first["requests"] == 40
    assert first["per_1000_images"] == pytest.approx(first["gpu_hours"] * 2.5 / 40 * 1000, rel=1e-3)
    [fewer] = [each for each in others if each["fleet"] == f"{first['replicas_most'] - 1} replicas"]
    assert not fewer["meets"]
    assert {"1.5x the load", "by backlog, cold 60 s", "by calls, cold 300 s"} <= {each["fleet"] for each in others}
    assert page.count("<svg") == 4
    assert "http" not in re.sub(r"xmlns[^>]*", "", page)


def test_a_burst_with_a_wide_goal_needs_few(trace: Path, tmp_path: Path) -> None:
    """What comes all at once and may wait is planned for by what was tried: one replica fewer misses."""
    at_once = re.sub(r'"at_s": [\d.]+', '"at_s": 0', TRACE)
    trace.write_text(at_once, encoding="utf-8")
    words: list[str | Path] = [trace, "--slo", "p95=30s", "--output", tmp_path]

    planned(*words)

    found = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    fewest = found["fleets"][0]["replicas_most"]
    alone = [planned(*words, "--fleet", f"replicas={each}").exit_code for each in (fewest - 1, fewest)]
    assert (found["is_met"], alone) == (True, [MISSED, 0])


def test_a_plan_says_whose_word_it_is(trace: Path, tmp_path: Path) -> None:
    """What no device was measured for is said where the answer is, and told in full beside it and on the page."""
    asked = planned(trace, "--fleet", "replicas=2", "--output", tmp_path)

    report = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    told = asked.output.splitlines()[0]
    assert "per 1,000 images" in told
    assert "By the cost table of H100, tile model: Computed, not measured" in told
    assert report["answer"] == told
    assert report["costs_source"] == cost_table().source
    assert escape(report["answer"]) in (tmp_path / "plan.html").read_text(encoding="utf-8")


def test_the_table_is_whole_in_a_narrow_terminal(trace: Path, tmp_path: Path) -> None:
    """A log of CI has 80 columns at most by its own account, and still every name and figure of a fleet in one line."""
    asked = CliRunner().invoke(app, [str(trace), "--output", str(tmp_path)], env={"COLUMNS": "80"})

    rows = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["fleets"]
    for row in rows:
        [line] = [line for line in asked.output.splitlines() if line.strip().startswith(row["fleet"])]
        assert line.split()[-1] == f"{row['per_1000_images']:.4g}"
    assert "…" not in asked.output


def test_a_fleet_may_be_named(trace: Path, tmp_path: Path) -> None:
    """A fleet that is said in words is lived through as it is, and a goal that it misses shows in the exit code."""
    asked = planned(
        trace, "--fleet", "scaling=backlog,wait=5,cold=60,deliver=0.1", "--slo", "p95=10s", "--output", tmp_path
    )

    report = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    [only] = report["fleets"]
    assert asked.exit_code == MISSED
    assert only["words"] == {"scaling": "backlog", "wait": 5.0, "deliver": 0.1}
    assert only["wait_s"]["max"] > 60


def test_no_fleet_may_be_enough(trace: Path, tmp_path: Path) -> None:
    """Where even the largest fleet is too slow, that is the answer."""
    asked = planned(trace, "--fleet", "most=3", "--slo", "p50=10ms", "--output", tmp_path)

    assert asked.exit_code == MISSED
    assert "No fleet of up to 3 replicas meets the goals" in asked.output


def test_what_every_order_takes_is_planned(trace: Path, tmp_path: Path) -> None:
    """Seconds that no table knows of count once for every order, and the answer says so."""
    hours = []
    for once in ("0", "36"):
        asked = planned(trace, "--fleet", f"replicas=4,once={once}", "--output", tmp_path)
        hours.append(json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["device_hours"])

    _, *orders = TRACE.splitlines()
    assert hours[1] - hours[0] == pytest.approx(len(orders) * 36 / 3600, rel=1e-2)
    assert "H100, tile model and 36 s for every order: Computed" in asked.output


def test_a_slower_device_is_planned_as_slow(trace: Path, tmp_path: Path) -> None:
    """A pace makes every hour longer, and the answer says so."""
    hours = []
    for pace in ("1", "2"):
        asked = planned(trace, "--fleet", f"replicas=4,pace={pace}", "--output", tmp_path)
        hours.append(json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["device_hours"])

    assert hours[1] == pytest.approx(hours[0] * 2, rel=1e-2)
    assert "H100, tile model, 2 times as long: Computed" in asked.output


def test_pictures_that_share_calls_take_less(tmp_path: Path) -> None:
    """Orders of four pictures need fewer hours where four share a call."""
    path, hours = tmp_path / "fours.jsonl", []
    path.write_text(TRACE.replace('"width"', '"images": 4, "width"'), encoding="utf-8")
    for group in ("1", "4"):
        planned(path, "--fleet", f"replicas=8,group={group}", "--output", tmp_path)
        hours.append(json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["device_hours"])

    assert hours[1] < 0.95 * hours[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["missing.jsonl"], "missing.jsonl cannot be read"),
        (["poisson", "--fleet", "replica=4"], "replica: Extra inputs are not permitted"),
        (["poisson", "--fleet", "cold=soon"], "cold: Input should be a valid number"),
        (["poisson", "--fleet", "scaling=by feel"], "scaling: Input should be 'fixed', 'backlog' or 'calls'"),
        (["poisson", "--fleet", "like=nowhere.json"], "nowhere.json: no pace can be read there"),
        (["poisson", "--fleet", "group=17"], "group: Input should be less than or equal to 16"),
        (["poisson", "--fleet", "least=10,most=2"], "together: Value error, least=10 is more than most=2"),
        (["poisson", "--fleet", "replicas=3,scaling=backlog"], "replicas=3 says how many, and scaling=backlog that"),
        (["poisson", "--fleet", "replicas=3, replicas=30"], "says no fleet: said twice: replicas"),
        (["poisson", "--slo", "fast"], "'fast' is no goal"),
        (["poisson", "--slo", ""], "nothing can be looked for without a goal"),
        (["poisson", "--costs", "gtx"], "gtx: no such cost table; write h100_tile_model"),
        (["poisson", "--costs", "gtx.json"], "gtx.json: no cost table can be read there"),
    ],
)
def test_bad_input_is_one_clear_line(words: list[str], told: str) -> None:
    """What cannot be planned ends with 2 and a line that names it."""
    asked = planned(*words)

    assert asked.exit_code == UNUSABLE
    assert told in asked.output
    assert asked.output.count("\n") == 1


@pytest.mark.parametrize("module", [["loadtest.plan"], ["loadtest", "plan"]])
def test_a_plan_has_two_names(trace: Path, tmp_path: Path, module: list[str]) -> None:
    """Both commands plan, and note by which one it was asked for."""
    words = [sys.executable, "-m", *module, str(trace), "--fleet", "replicas=1", "--slo", "p50=1ms", "--output"]

    asked = subprocess.run([*words, str(tmp_path)], check=False, capture_output=True, text=True)

    report = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert (asked.returncode, asked.stderr) == (MISSED, "")
    assert report["command"].startswith(f"python -m {' '.join(module)} {trace}")


def test_help_knows_every_command_and_profile() -> None:
    """The list of commands has plan, plan's own help its options, and the help of run every profile of ours."""
    commands, of_plan, of_run = (
        CliRunner().invoke(loadtest, words, env={"COLUMNS": "200"}).output
        for words in (["--help"], ["plan", "--help"], ["run", "--help"])
    )

    assert " plan " in commands
    assert "--gpu-hour" in of_plan
    assert all(path.stem in of_run for path in PROFILES.glob("*.yaml"))


def test_an_empty_trace_is_nothing_to_plan(tmp_path: Path) -> None:
    """A trace without orders says so."""
    path = tmp_path / "empty.jsonl"
    path.write_text('{"trace": 1}\n', encoding="utf-8")

    asked = planned(path)

    assert (asked.exit_code, asked.output.count("\n")) == (UNUSABLE, 1)


def test_words_have_bounds() -> None:
    """A fleet of infinitely long cold starts is refused, not simulated for ever."""
    with pytest.raises(UnreadableFleet, match="finite"):
        parse_fleet("cold=inf")
