"""The search for a server's capacity against servers that do nothing, or no more."""

from __future__ import annotations

from running_service import free_port

from loadtest.answers import answering
from loadtest.openloop.profile import Profile, Steady
from loadtest.openloop.search import Search
from loadtest.openloop.slo import parse_slo

#: Its first order is due at once, and the next when its seconds are over.
QUICK = Profile(seconds=0.2, arrivals=Steady(kind="steady", rate=5), poll_s=0.05)


async def test_a_low_rate_is_looked_at_for_longer() -> None:
    """A rate at which a look would have had no order is carried by a server that carries everything."""
    told: list[str] = []

    with answering(free_port()) as target:
        search = Search(profile=QUICK, goals=parse_slo("errors=0%"), target=target, keys=["k"], tell=told.append)
        is_carried = await search.carries(4.0, 0)

    [look] = search.tries
    assert (is_carried, look["orders"]) == (True, 3)
    assert told[0].endswith("4.000 a second is offered for 1 s, until 3 orders came")
