"""The search for the highest rate: it brackets, bisects, asks twice, and ends."""

from __future__ import annotations

import pytest

from loadtest.openloop.capacity import Carries, highest_rate


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

    assert capacity / 1.05 <= found.carried <= capacity < found.missed
    assert asked[-2:] == [(found.carried, 1), (found.missed, 1)]


async def test_nothing_is_carried_by_a_broken_server() -> None:
    """Where even the lowest rate is missed, the answer is 0."""
    found = await highest_rate(server(0, []), start=1.0)

    assert found.carried == 0


async def test_a_server_without_end_ends_the_search() -> None:
    """Where everything is carried, the search ends at a rate that nobody offers."""
    found = await highest_rate(server(1e9, []), start=1.0)

    assert found.carried > 5000


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
    """Where every second look is another, the search takes what it has after some doubts."""
    asked: list[float] = []

    async def carries(rate: float, number: int) -> bool:
        asked.append(rate)
        return number == 0 and rate < 4.0

    found = await highest_rate(carries, start=1.0)

    assert found.carried < 4.0
    assert len(asked) < 60
