"""What is lived through and what is planned stand side by side; a device known to be slow is planned as slow."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest
from typer.testing import CliRunner

from loadtest.exits import UNUSABLE
from loadtest.openloop.order import Order
from loadtest.plan_check import WISHES, app, command_of, compared, drawn, far_off, pace_of, pace_of_pairs, planned
from loadtest.virtual.calibration import Pace, UnreadablePace, calibrated, hurried_costs, read_pace
from loadtest.virtual.fleet import live
from loadtest.virtual.fleet_words import parse_fleet
from loadtest.virtual.lived import Setting
from loadtest.virtual.replica import Habits
from loadtest.virtual.scaling import Fixed
from loadtest.virtual.work import works_of
from models.cost import UNIT_TOKENS, cost_table

#: How far off a plan may be and still be near: ten times as much, or a tenth.
WIDE = 9.0
LATENCIES = ["latency_mean_s", "latency_p50_s", "latency_p95_s"]


def test_a_short_load_is_lived_through_and_planned(tmp_path: Path) -> None:
    """Every order ends in both worlds, and none is foretold to take less than its work or more than all of it."""
    output = tmp_path / "plan_paced.json"
    size = ["--seconds", "1", "--replicas", "1", "--load", "1.5", "--faster", "80"]
    orders = drawn(hurried_costs(cost_table(), 80), seconds=1, rate=1.5, wishes=WISHES)

    asked = CliRunner().invoke(app, ["paced", *size, "--output", str(output)])

    found = json.loads(output.read_text(encoding="utf-8"))
    lived, thought, pace = found["lived_through"], found["planned"], Pace(**found["pace"])
    works_s = [work.device_s * pace.slower for work in works_of(orders, hurried_costs(cost_table(), 80))]
    assert asked.exit_code == 0
    assert lived.keys() == thought.keys() == found["planned_per_lived"].keys()
    assert lived["orders"] == thought["orders"] == len(orders) > 5
    # However slow this machine is just now: the plan knows only how slow it was, which is why it may not be held
    # against what was lived through here.
    assert fmean(works_s) <= thought["latency_mean_s"] <= sum(works_s) + len(orders) * (pace.beside_s + 0.1) + 1
    assert found["planned_per_lived"]["per_s"] == pytest.approx(thought["per_s"] / lived["per_s"])
    assert "planned / lived" in asked.output


@pytest.mark.parametrize(
    ("pace", "missed"),
    [
        (Pace(slower=1.0, beside_s=0.1), []),
        (Pace(slower=1000.0, beside_s=0.1), [*LATENCIES, "per_s"]),
        (Pace(slower=15.0, beside_s=0.1), LATENCIES),
        (Pace(slower=0.02, beside_s=0.0), LATENCIES),
        (Pace(slower=1.0, beside_s=40.0), LATENCIES),
    ],
)
def test_a_wrong_prediction_is_found_wrong(pace: Pace, missed: list[str]) -> None:
    """What was lived through at one pace is foretold by that pace alone; another misses even a wide bound."""
    costs, orders = cost_table(), [Order(at_s=number * 2.0, tenant="a", width=512) for number in range(60)]
    truth = Habits(capacity=4, deliver_s=Pace(slower=1.0, beside_s=0.1).deliver_s)
    real = planned(live(works_of(orders, costs), Setting(warm=2, habits=truth), Fixed(replicas=2)))

    found = compared(real, orders=orders, costs=costs, pace=pace, replicas=2)

    assert far_off(found["planned_per_lived"], share=WIDE) == missed
    assert bool(found["off_by_more"]) == bool(missed)


def test_a_plan_may_be_like_what_was_measured(tmp_path: Path) -> None:
    """The measured pace and seconds beside the device become the fleet's, but for what is said in words."""
    path = tmp_path / "plan_live.json"
    path.write_text(
        json.dumps({"costs": cost_table().device, "pace": {"slower": 1.5, "beside_s": 0.513, "once_s": 0.2}})
    )

    like, said = (calibrated(parse_fleet(f"like={path}{more}"), cost_table()) for more in ("", ",deliver=2"))

    assert (like.pace, like.once, like.deliver) == pytest.approx((1.5, 0.2, 0.5))
    assert (said.pace, said.once, said.deliver) == (1.5, 0.2, 2.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "no pace can be read there"),
        ("[]", "no pace can be read there"),
        ('{"pace": [1, 2]}', "no pace can be read there"),
        ('{"pace": {"slower": 1, "beside_s": 1, "colour": 1}}', "no pace can be read there"),
        ('{"pace": {"slower": "fast", "beside_s": 1}}', "no pace can be read there"),
        ('{"pace": {"slower": 0, "beside_s": 1}}', "nothing works at a pace of 0.0"),
        ('{"pace": {"slower": NaN, "beside_s": 1}}', "nothing works at a pace of nan"),
        ('{"pace": {"slower": 1, "beside_s": 0, "once_s": -1}}', "1.0, -1.0 s an order and 0.0 s beside"),
        ('{"costs": "B200", "pace": {"slower": 1, "beside_s": 1}}', "was measured beside the table of 'B200'"),
    ],
)
def test_what_is_no_pace_is_refused(tmp_path: Path, text: str, told: str) -> None:
    """A file without a pace, or one of another device's table, is named."""
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(UnreadablePace, match=told):
        read_pace(path, cost_table())


def test_a_server_that_is_not_there_is_one_clear_line() -> None:
    """Where nobody listens, nothing is compared, and that is said."""
    asked = CliRunner().invoke(app, ["live", "--key", "some-key", "--target", "http://127.0.0.1:9"])

    assert asked.exit_code == UNUSABLE
    assert "http://127.0.0.1:9" in asked.output
    assert asked.output.count("\n") == 1


def test_no_key_is_written_down() -> None:
    """The command that a report notes has none of a tenant's keys, however it was given."""
    words = ["live", "--key", "s3cret", "--key=s3cret", "--seconds", "9"]

    noted = command_of(words, key="s3cret")

    assert noted == "python -m loadtest.plan_check live --key KEY --key=KEY --seconds 9"
    assert command_of(["paced"]) == "python -m loadtest.plan_check paced"


def test_pace_is_told_from_what_was_alone() -> None:
    """What grows with the work is the device's, what does not is beside it."""
    pace = pace_of([1.0, 2.0, 4.0], [2.1, 4.1, 8.1])

    assert (pace.slower, pace.beside_s) == pytest.approx((2.0, 0.1))


def test_what_waits_for_the_other_is_the_devices() -> None:
    """Of two at once one waits for the other's device, and for nothing else of it: its fixed part is known by that."""
    device_s = [1.0, 2.0, 4.0, 8.0]
    occupied_s = [0.3 + 2 * each for each in device_s]
    spans_s = [0.1 + sum(occupied_s[:2]), 0.1 + sum(occupied_s[2:])]

    pace = pace_of_pairs(device_s, [0.1 + each for each in occupied_s], spans_s)

    assert (pace.slower, pace.once_s, pace.beside_s) == pytest.approx((2.0, 0.3, 0.1))


@pytest.mark.parametrize("span_s", [0.11, 0.09])
def test_a_server_that_does_two_at_once_has_a_pace(span_s: float) -> None:
    """Where two took no longer than one, or chance made them quicker, all that is known is how long one took alone."""
    pace = pace_of_pairs([1.0, 2.0], [0.11, 0.11], [span_s])

    assert (pace.slower, pace.once_s, pace.beside_s) == pytest.approx((0.22 / 3, 0.0, 0.0))


@pytest.mark.parametrize("alone_s", [[9.1, 1.1], [1.1, 7.1]])
def test_what_chance_drew_is_no_line(alone_s: list[float]) -> None:
    """Where more work took less time, or the line begins below nothing, all that is known is how long it took."""
    pace = pace_of_pairs([1.0, 2.0], alone_s, [sum(alone_s) - 0.1])

    assert (pace.slower, pace.once_s, pace.beside_s) == pytest.approx(((sum(alone_s) - 0.2) / 3, 0.0, 0.1))


def test_in_company_it_is_slower_by_how_much_there_is() -> None:
    """Half as busy as in company means half of what company costs; what is beside the device stays."""
    pace = Pace(slower=1.0, beside_s=0.1).in_company(10.0, 14.0, load=0.5)

    assert (pace.slower, pace.beside_s) == pytest.approx((1.2, 0.1))


def test_more_than_all_company_is_all_of_it() -> None:
    """Where more is asked for than replicas can do, they are busy all the time and no more than that."""
    assert Pace(slower=1.0, beside_s=0.1).in_company(10.0, 14.0, load=1.5).slower == pytest.approx(1.4)


def test_chance_makes_no_work_shorter() -> None:
    """Where longer work took less time, the pace is that of all work together."""
    assert pace_of([1.0, 2.0, 3.0], [4.0, 3.0, 2.0]) == Pace(slower=1.5, beside_s=0.0)


def test_nothing_is_quicker_than_nothing() -> None:
    """A line that begins below nothing says that nothing is beside the device."""
    assert pace_of([1.0, 2.0], [0.5, 1.5]) == Pace(slower=1.0, beside_s=0.0)


def test_a_faster_device_is_faster_at_everything() -> None:
    """A table of a device twice as fast says half of every time."""
    costs = cost_table()

    fast = hurried_costs(costs, 2.0)

    assert fast.step(UNIT_TOKENS) == pytest.approx(costs.step(UNIT_TOKENS) / 2)
    assert fast.decode(1024**2) == pytest.approx(costs.decode(1024**2) / 2)
