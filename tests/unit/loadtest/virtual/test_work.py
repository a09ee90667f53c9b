"""What work asks of a device, held against the real engine before a device that only tells the time."""

from __future__ import annotations

import pytest

from loadtest.openloop.order import Order
from loadtest.scheduler.arrivals import Arrival
from loadtest.scheduler.replica import EngineReplica, play
from loadtest.virtual.replica import Habits
from loadtest.virtual.work import wish_of, works_of
from models.cost import cost_table


def stepped_s(orders: list[Order], *, group: int) -> float:
    """Return the seconds that the real engine needs for orders that are all there at once."""
    arrivals = [
        Arrival(number=number, at_s=0.0, tenant=order.tenant, request=wish_of(order))
        for number, order in enumerate(orders)
    ]
    return max(outcome.ended_s for outcome in play(arrivals, EngineReplica(cost_table(), max_group=group)))


@pytest.mark.parametrize("group", [1, 2, 3, 4])
@pytest.mark.parametrize("images", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [512, 1024])
def test_pictures_of_a_request_share_as_in_the_engine(group: int, images: int, side: int) -> None:
    """A request takes as long as the engine takes for it, however many of its pictures may share a call."""
    order = Order(at_s=0.0, tenant="a", width=side, height=side, images=images, steps=12)

    [work] = works_of([order], cost_table(), group=group)

    assert work.device_s == pytest.approx(stepped_s([order], group=group), rel=1e-6)


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_strangers_share_nothing_where_few_are_held(side: int) -> None:
    """Of as many requests as a replica holds the engine lets none share with another, so nor does a virtual one."""
    orders = [
        Order(at_s=0.0, tenant=f"t{number}", width=side, height=side, steps=12, references=0)
        for number in range(Habits().capacity)
    ]

    works = works_of(orders, cost_table(), group=4)

    assert sum(work.device_s for work in works) == pytest.approx(stepped_s(orders, group=4), rel=1e-6)


def test_sharing_spares_time() -> None:
    """Four small pictures in one call take a seventh less than four calls, and cost their tenant as much as before."""
    order = Order(at_s=0.0, tenant="a", width=512, height=512, images=4, references=0)

    [alone], [together] = (works_of([order], cost_table(), group=group) for group in (1, 4))

    assert 0.8 < together.device_s / alone.device_s < 0.9
    assert together.units == alone.units
