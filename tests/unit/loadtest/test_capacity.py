"""The search for the highest rate: it brackets, bisects, asks twice, and ends."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loadtest import ceiling_command
from loadtest.__main__ import app
from loadtest.capacity_command import said_of
from loadtest.exits import UNUSABLE
from loadtest.openloop.capacity import Bracket, Carries, bracket_of, highest_rate
from loadtest.openloop.due import due_times
from loadtest.openloop.ledger import reckon
from loadtest.openloop.order import Order
from loadtest.openloop.profile import Profile, Steady, read_profile
from loadtest.openloop.record import End, Record
from loadtest.openloop.run import Result
from loadtest.openloop.search import LOOKS, Search, judged, line_of, long_enough, takes, with_orders
from loadtest.openloop.slo import parse_slo


def looked(*, lateness_s: float = 0.0, **broken: Any) -> Result:
    """Make what came of one order, which succeeded at once; its ledger may say what it likes."""
    records = [Record(order=Order(at_s=0, tenant="a"), lateness_s=lateness_s, ended_s=0.1, end=End.SUCCEEDED)]
    ledger = replace(reckon(records, again={}), accepted=1, **broken)
    return Result(records=records, not_sent=0, wall_s=1.0, ledger=ledger, was_stopped=False)


def server(capacity: float, asked: list[tuple[float, int]]) -> Carries:
    """Make a server that carries so much and notes what it is asked for."""

    async def carries(rate: float, number: int) -> bool:
        asked.append((rate, number))
        return rate <= capacity

    return carries


@pytest.mark.parametrize("capacity", [0.3, 1.0, 7.7, 900.0])
@pytest.mark.parametrize("start", [0.1, 1.0, 50.0])
async def test_it_is_found_from_any_guess(capacity: float, start: float) -> None:
    """The answer is within 5 % below what the server carries, and both ends were asked for twice."""
    asked: list[tuple[float, int]] = []

    found = await highest_rate(server(capacity, asked), start=start)

    assert found.is_settled
    assert capacity / 1.05 <= found.carried <= capacity < found.missed
    assert asked[-2:] == [(found.carried, 1), (found.missed, 1)]


async def test_nothing_is_carried_by_a_broken_server() -> None:
    """Where even the lowest rate is missed, the answer is 0."""
    found = await highest_rate(server(0, []), start=1.0)

    assert (found.carried, found.is_settled) == (0, True)


async def test_a_server_without_end_ends_the_search() -> None:
    """Where everything is carried, the search ends at a rate that nobody offers."""
    found = await highest_rate(server(1e9, []), start=1.0)

    assert found.carried > 5000
    assert found.is_settled


async def test_luck_is_found_out() -> None:
    """A rate that was carried once and not again is not the answer; one below it is."""
    asked: list[float] = []

    async def carries(rate: float, number: int) -> bool:
        asked.append(rate)
        return rate <= (10.0 if number == 0 and len(asked) < 15 else 5.0)

    found = await highest_rate(carries, start=1.0)

    assert 5.0 / 1.05 <= found.carried <= 5.0


async def test_bad_luck_is_found_out() -> None:
    """A rate that was missed once and carried twice after is no upper end; the answer lies above it."""
    asked: list[float] = []

    async def carries(rate: float, number: int) -> bool:
        asked.append(rate)
        return rate <= (5.0 if number == 0 and len(asked) < 8 else 10.0)

    found = await highest_rate(carries, start=1.0)

    assert 10.0 / 1.05 <= found.carried <= 10.0 < found.missed


async def test_one_hiccup_decides_nothing() -> None:
    """Where the second look contradicts the first, the third decides; the search does not begin anew."""
    asked: list[tuple[float, int]] = []

    async def carries(rate: float, number: int) -> bool:
        asked.append((rate, number))
        return rate <= 7.0 and number != 1

    found = await highest_rate(carries, start=1.0)

    assert 7.0 / 1.05 <= found.carried <= 7.0 < found.missed
    assert asked[-3:] == [(found.carried, 1), (found.carried, 2), (found.missed, 1)]


async def test_a_restless_server_ends_the_search() -> None:
    """Where every second look is another, the search takes what it has after some doubts, and says that it doubts."""
    asked: list[float] = []

    async def carries(rate: float, number: int) -> bool:
        asked.append(rate)
        return number == 0 and rate < 4.0

    found = await highest_rate(carries, start=1.0)

    assert found.carried < 4.0
    assert not found.is_settled
    assert len(asked) < 60


def test_what_is_not_settled_is_said_so() -> None:
    """The last line doubts what was seen once, and nothing else."""
    settled, doubted = (Bracket(carried=2.0, missed=math.inf, is_settled=each) for each in (True, False))

    assert "not settled" not in said_of(settled)
    assert said_of(doubted).startswith(said_of(settled))
    assert "not settled" in said_of(doubted)


@pytest.mark.parametrize(
    ("looks", "carried", "missed"),
    [
        ([(1.0, True), (2.0, True)], 2.0, math.inf),
        ([(2.0, False), (1.0, False)], 0.0, 1.0),
        ([(1.0, True), (2.0, True), (4.0, False), (2.8, True)], 2.8, 4.0),
        # The last look at a rate counts, and of rates that contradict each other the lower.
        ([(1.0, True), (2.0, True), (2.0, False)], 1.0, 2.0),
        ([(1.0, True), (2.0, False), (3.0, True)], 1.0, 2.0),
    ],
)
def test_a_search_that_is_cut_short_knows_something(
    looks: list[tuple[float, bool]], carried: float, missed: float
) -> None:
    """What was seen by then is the answer so far, which is doubted for having no end and for nothing else."""
    found = bracket_of(looks)

    assert (found.carried, found.missed, found.is_settled) == (carried, missed, False)
    assert found.doubt == "; not settled: the search was ended before its end"


def test_a_generator_that_was_late_is_doubted() -> None:
    """What was missed while orders were sent late may have been missed by the generator; the last line says so."""
    found = Bracket(carried=2.0, missed=2.1, is_settled=True, is_late=True)

    assert "the generator itself was late at the rate that was missed" in said_of(found)


def test_lateness_that_is_no_longer_small_is_told_of() -> None:
    """More than 5 % of the longest goal at p99 is said with the look, and remembered at its rate."""
    goals = parse_slo("p95=1s,p50=200ms")
    on_time, late = (judged(looked(lateness_s=seconds), goals) for seconds in (0.04, 0.06))
    tries: list[Mapping[str, Any]] = [{"rate": 1.0, **on_time}, {"rate": 2.0, **late}]

    search = Search(profile=read_profile("capacity"), goals=goals, target="", keys=["k"], tell=print, tries=tries)

    assert [search.was_late_at(rate) for rate in (1.0, 2.0, 3.0)] == [False, True, False]
    assert "the generator's own fault" not in line_of(tries[0])
    assert line_of(tries[1]).endswith(
        "sent 60 ms late, which is the generator's own fault and no longer small beside the goals"
    )


def test_without_a_goal_of_time_no_lateness_misses_it() -> None:
    """What was sent late is no error, so a search for errors alone does not doubt it."""
    assert not judged(looked(lateness_s=9.0), parse_slo("errors=0%"))["is_late"]


@pytest.mark.parametrize("broken", ["lost", "doubled", "changed"])
def test_a_rate_at_which_promises_are_broken_is_not_carried(broken: str) -> None:
    """A task that was accepted and is gone makes up for no goal that was met; the line says which promise it was."""
    look = {"rate": 1.0} | judged(looked(**dict[str, Any]({broken: ["task-1"]})), parse_slo("p95=20s,errors=50%"))

    assert (look["is_carried"], look["is_broken"]) == (False, True)
    assert f"ledger broken: 1 accepted, 1 {broken}" in line_of(look)


def test_what_is_only_late_is_left_to_the_goals() -> None:
    """One unfinished task of a load is an error like others, which the goal allows or not."""
    assert judged(looked(unfinished=["task-1"]), parse_slo("p95=20s"))["is_carried"]


@pytest.mark.parametrize("slo", ["", " , "])
def test_a_search_without_a_goal_is_refused(slo: str) -> None:
    """It would carry everything, and double its rate on somebody's server to the end."""
    words = ["find-capacity", "capacity", "--target", "http://127.0.0.1:9", "--key", "k", "--slo", slo]

    refused = CliRunner().invoke(app, words)

    assert refused.exit_code == UNUSABLE
    assert "nothing can be looked for without a goal" in refused.output


@pytest.mark.parametrize(
    ("seconds", "said"), [(5, "about 40 to 80 s,"), (60, "about 8 to 16 min,"), (3600, "about 8 to 16 h,")]
)
def test_a_search_says_how_long_it_takes(seconds: float, said: str) -> None:
    """Who starts a search knows whether to wait for it or to come back tomorrow."""
    assert said in takes(seconds)


@pytest.mark.parametrize(
    ("slo", "warm_up_s", "seconds"), [("p95=1s", 0, 5), ("p95=20s,errors=0%", 0, 60), ("p95=20s", 4, 64)]
)
def test_a_look_is_longer_than_what_it_looks_for(slo: str, warm_up_s: float, seconds: float) -> None:
    """With a goal of 20 s, a rate is judged for a minute: in less, a queue that grows meets its goal."""
    profile = Profile(seconds=5, warm_up_s=warm_up_s, arrivals=Steady(kind="steady", rate=1))

    assert long_enough(profile, parse_slo(slo)).seconds == seconds


@pytest.mark.parametrize("kind", ["steady", "poisson"])
@pytest.mark.parametrize("warm_up_s", [0, 55])
def test_a_look_has_orders_to_judge(kind: str, warm_up_s: float) -> None:
    """At a rate that is lower than one order in all its seconds, a look lasts until a few came."""
    arrivals = {"kind": kind, "rate": 1}
    profile = Profile.model_validate({"seconds": 60, "warm_up_s": warm_up_s, "arrivals": arrivals})

    seldom, often = (with_orders(profile.at_rate(rate)) for rate in (0.01, 100.0))

    assert sum(at_s >= warm_up_s for at_s in due_times(seldom)) >= 3
    assert seldom.seconds < 1000
    assert often.seconds == 60


async def test_a_search_takes_as_many_looks_as_are_told() -> None:
    """From a guess that is less than four times off, a server that is the same each time is found in few looks."""
    asked: list[tuple[float, int]] = []

    await highest_rate(server(3.9, asked), start=1.0)

    assert LOOKS[0] <= len(asked) <= LOOKS[1]


def test_a_trace_cannot_be_searched() -> None:
    """Its rate is what it is; the line says what to do instead."""
    words = ["find-capacity", "day.jsonl", "--target", "http://127.0.0.1:9", "--key", "k"]

    refused = CliRunner().invoke(app, words)

    assert refused.exit_code == UNUSABLE
    assert refused.output.splitlines()[-1].startswith("day.jsonl: a trace has the rate that it has; search with a")


def test_a_target_that_is_down_is_written_down(tmp_path: Path) -> None:
    """The JSON has the command to run again, no key of a tenant, and why there is no answer in it."""
    output = tmp_path / "capacity.json"
    words = ["find-capacity", "capacity", "--target", "http://127.0.0.1:9", "--slo", "p95=1s", "--output", str(output)]

    asked = CliRunner().invoke(app, [*words, "--key", "secret-1,secret-2", "--start", "3"])

    found = json.loads(output.read_text(encoding="utf-8"))
    assert asked.exit_code == UNUSABLE
    assert "secret" not in output.read_text(encoding="utf-8")
    assert found["command"].startswith("python -m loadtest find-capacity capacity --key KEY,KEY --slo p95=1s")
    assert (found["carried_per_s"], found["is_settled"], found["tries"]) == (None, False, [])
    assert "no connection" in found["ended_by"]


def test_the_ceiling_is_told_in_calls() -> None:
    """Who reads an order twenty times makes 21 calls for it, and is told how many a second that is."""
    found = Bracket(carried=100.0, missed=105.0, is_settled=True)

    assert ceiling_command.said_of(found, 1) == (
        "made 200 calls a second in time, not 210: 100 orders a second with 2 calls each"
    )
    assert ceiling_command.said_of(found, 20).startswith("made 2100 calls a second in time, not 2205: 100 orders")
