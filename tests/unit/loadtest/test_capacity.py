"""The search for the highest rate: it brackets, bisects, asks twice, and ends."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.__main__ import app
from loadtest.capacity_command import said_of
from loadtest.exits import UNUSABLE
from loadtest.openloop.capacity import Bracket, Carries, highest_rate


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
