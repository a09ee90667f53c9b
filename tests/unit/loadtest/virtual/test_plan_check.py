"""What is lived through and what is planned stand side by side; a device known to be slow is planned as slow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.exits import UNUSABLE
from loadtest.plan_check import Pace, app, hurried_costs, pace_of
from models.cost import UNIT_TOKENS, cost_table


def test_a_short_load_is_lived_through_and_planned(tmp_path: Path) -> None:
    """Every order of a load ends in both worlds, and the report holds both."""
    output = tmp_path / "plan_paced.json"
    size = ["--seconds", "1", "--replicas", "1", "--load", "2", "--faster", "100"]

    asked = CliRunner().invoke(app, ["paced", *size, "--output", str(output)])

    found = json.loads(output.read_text(encoding="utf-8"))
    assert asked.exit_code == 0
    assert found["lived_through"].keys() == found["planned"].keys()
    assert found["lived_through"]["orders"] == found["planned"]["orders"] > 5
    assert "planned / lived" in asked.output


def test_a_server_that_is_not_there_is_one_clear_line() -> None:
    """Where nobody listens, nothing is compared, and that is said."""
    asked = CliRunner().invoke(app, ["live", "--key", "some-key", "--target", "http://127.0.0.1:9"])

    assert asked.exit_code == UNUSABLE
    assert "http://127.0.0.1:9" in asked.output
    assert asked.output.count("\n") == 1


def test_pace_is_told_from_what_was_alone() -> None:
    """What grows with the work is the device's, what does not is beside it."""
    pace = pace_of([1.0, 2.0, 4.0], [2.1, 4.1, 8.1])

    assert (pace.slower, pace.beside_s) == pytest.approx((2.0, 0.1))


def test_in_company_it_is_slower_by_how_much_there_is() -> None:
    """Half as busy as in company means half of what company costs; what is beside the device stays."""
    pace = Pace(slower=1.0, beside_s=0.1).in_company(10.0, 14.0, load=0.5)

    assert (pace.slower, pace.beside_s) == pytest.approx((1.2, 0.1))


def test_nothing_is_quicker_than_nothing() -> None:
    """A line that begins below nothing says that nothing is beside the device."""
    assert pace_of([1.0, 2.0], [0.5, 1.5]) == Pace(slower=1.0, beside_s=0.0)


def test_a_faster_device_is_faster_at_everything() -> None:
    """A table of a device twice as fast says half of every time."""
    costs = cost_table()

    fast = hurried_costs(costs, 2.0)

    assert fast.step(UNIT_TOKENS) == pytest.approx(costs.step(UNIT_TOKENS) / 2)
    assert fast.decode(1024**2) == pytest.approx(costs.decode(1024**2) / 2)
