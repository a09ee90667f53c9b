"""The rules of scaling, as a virtual fleet asks them: Ray Serve's own code says what its usual policy wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.autoscaling import Aim
from loadtest.virtual.fleet import live
from loadtest.virtual.lived import Lived, Setting
from loadtest.virtual.scaling import ByBacklog, ByCalls, Scaling, Sight
from loadtest.virtual.work import Work

RAYS_SCHEMA = pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning")
NOTHING = Sight(now_s=0.0, queued=0, running=0, queued_units=0.0, runs=deque(), up=0, target=0)
RULES: list[Callable[[], Scaling]] = [lambda: ByBacklog(aim=Aim(wait_s=10, calm_s=120, units_per_s=8)), ByCalls]


def burst(rate: float, *, peak: float, until_s: float) -> list[Work]:
    """Make seconds of work at even distances: a calm, a minute of peak from 300 s on, and calm again."""
    works: list[Work] = []
    at_s = 0.0
    while at_s < until_s:
        works.append(Work(number=len(works), at_s=at_s, tenant="t", model="uno", units=8.0, device_s=1.0, images=1))
        at_s += 1 / (peak if 300 <= at_s < 360 else rate)
    return works


def lived_with(rule: Scaling, *, peak: float = 8.0) -> Lived:
    """Let a burst come to a fleet that has two replicas at first."""
    return live(burst(1.0, peak=peak, until_s=900), Setting(warm=2, cold_s=20.0), rule)


@RAYS_SCHEMA
@given(desired=st.lists(st.tuples(st.floats(0.1, 90), st.integers(0, 12)), min_size=1, max_size=60))
@settings(max_examples=200)
def test_delays_are_those_of_serve(desired: list[tuple[float, int]]) -> None:
    """For every series of wishes our copy says what Serve's own code says."""
    from ray.serve.autoscaling_policy import _apply_delay_logic  # noqa: PLC0415 -- takes seconds
    from ray.serve.config import AutoscalingConfig  # noqa: PLC0415 -- as above

    config = AutoscalingConfig(min_replicas=0, initial_replicas=3, max_replicas=100, downscale_delay_s=120.0)
    ours, now_s, target, state = ByCalls(down_delay_s=120.0), 0.0, 3, {}  # type: ignore[var-annotated]  # Serve's own state

    for pause_s, wish in desired:
        now_s += pause_s
        theirs, state = _apply_delay_logic(wish, target, config, state, _now=now_s)
        assert ours.delayed(wish, target=target, now_s=now_s) == theirs
        target = theirs


@RAYS_SCHEMA
@given(calls=st.integers(0, 500), up=st.integers(1, 50))
def test_wishes_are_those_of_serve(calls: int, up: int) -> None:
    """For every number of calls and replicas our copy wishes for what Serve's own code wishes for."""
    from ray.serve.autoscaling_policy import _apply_scaling_factors  # noqa: PLC0415 -- takes seconds
    from ray.serve.config import AutoscalingConfig  # noqa: PLC0415 -- as above

    config = AutoscalingConfig(min_replicas=0, initial_replicas=1, max_replicas=1000, target_ongoing_requests=2)
    theirs = _apply_scaling_factors(up * (calls / (2.0 * up)), up, config)

    ours = ByCalls(up_delay_s=0.0, down_delay_s=0.0).wanted(replace(NOTHING, queued=calls, up=up, target=up))

    assert ours == (theirs if theirs > up or up == 1 else max(theirs, 1))


@pytest.mark.parametrize("rule", RULES, ids=["backlog", "calls"])
def test_from_nothing_to_something(rule: Callable[[], Scaling]) -> None:
    """A single task is enough for a replica where there is none."""
    waiting = replace(NOTHING, queued=1, queued_units=1.0)

    assert rule().wanted(waiting) == 1


def test_up_at_once_and_down_after_the_calm() -> None:
    """Ours goes up as soon as it sees a burst, never down within the calm time after it, and down in the end."""
    lived = lived_with(ByBacklog(aim=Aim(wait_s=10, calm_s=120, units_per_s=8)))

    steps = [(later.at_s, later.target - earlier.target) for earlier, later in pairwise(lived.moments)]
    rises = [at_s for at_s, change in steps if change > 0]
    falls = [at_s for at_s, change in steps if change < 0]
    high = max(moment.target for moment in lived.moments)
    assert any(300 <= at_s <= 315 for at_s in rises)
    assert all(fall - rise >= 120 - 2 for fall in falls for rise in rises if rise < fall and rise >= 300)
    assert lived.moments[-1].target < high


def test_ours_never_flaps() -> None:
    """What is wanted turns from down to up only when the load does: twice for one burst at most."""
    lived = lived_with(ByBacklog(aim=Aim(wait_s=10, calm_s=120, units_per_s=8)))

    targets = [moment.target for moment in lived.moments if moment.at_s > 300]
    changes = [later - earlier for earlier, later in pairwise(targets) if later != earlier]
    turns = sum((earlier < 0) != (later < 0) for earlier, later in pairwise(changes))
    assert turns <= 2


def test_ours_waits_less_in_a_burst() -> None:
    """With the same cold starts the longest wait is shorter than under Serve's usual policy."""
    ours, serves = (lived_with(rule()) for rule in RULES)

    longest = [max((fate.started_s or 0.0) - fate.work.at_s for fate in lived.fates) for lived in (ours, serves)]
    assert longest[0] < longest[1]
