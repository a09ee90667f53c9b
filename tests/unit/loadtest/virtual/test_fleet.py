"""What holds of a virtual fleet whatever comes and whatever is lost: nothing vanishes, and the clock is honest."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.autoscaling import Aim
from loadtest.openloop.record import End
from loadtest.virtual.fleet import live
from loadtest.virtual.lived import Lived, Setting
from loadtest.virtual.outcome import figures
from loadtest.virtual.replica import Habits
from loadtest.virtual.scaling import ByBacklog, ByCalls, Fixed, Scaling, Sight
from loadtest.virtual.work import Work

#: When each task comes after the one before, whose it is, how long it takes a device, and when it is taken back.
COMING = st.lists(
    st.tuples(
        st.floats(0, 3),
        st.sampled_from("aaabc"),
        st.floats(0.01, 9),
        st.one_of(st.none(), st.none(), st.floats(0, 20)),
        st.sampled_from(["uno", "uso"]),
    ),
    max_size=60,
)


def works_of(coming: list[tuple[float, str, float, float | None, str]]) -> list[Work]:
    """Make work of what was drawn."""
    at_s, works = 0.0, []
    for number, (gap_s, tenant, device_s, cancel_after_s, model) in enumerate(coming):
        at_s += gap_s
        works.append(
            Work(
                number=number,
                at_s=at_s,
                tenant=tenant,
                model=model,
                units=device_s * 8,
                device_s=device_s,
                images=1,
                cancel_after_s=cancel_after_s,
            )
        )
    return works


def evenly(number: int, *, every_s: float, device_s: float = 1.0) -> list[Work]:
    """Make equal work of four tenants at even distances."""
    return works_of([(every_s, "abcd"[each % 4], device_s, None, "uno") for each in range(number)])


def fixed(replicas: int, **changes: float) -> Lived:
    """Let some work come to so many replicas that two are too few for it."""
    setting = Setting(warm=replicas, habits=Habits(deliver_s=0.05), **changes)  # type: ignore[arg-type]  # any field
    return live(evenly(60, every_s=0.4), setting, Fixed(replicas=replicas))


@given(coming=COMING, replicas=st.integers(1, 4), losses=st.sampled_from([0.0, 200.0]), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_every_request_ends_once(
    coming: list[tuple[float, str, float, float | None, str]], replicas: int, losses: float, seed: int
) -> None:
    """Whatever comes, is taken back or is lost: everything has one end, after it came, and devices did no magic."""
    works = works_of(coming)
    setting = Setting(warm=replicas, per_node=1, losses_per_h=losses, cold_s=5.0, lease_s=4.0, seed=seed)

    lived = live(works, setting, Fixed(replicas=replicas))

    assert [fate.work for fate in lived.fates] == works
    ended = Counter(fate.end for fate in lived.fates)
    assert ended[End.UNFINISHED] == 0
    assert lived.asked["finish"] == ended[End.SUCCEEDED]
    assert losses or not ended[End.FAILED]
    needed_s = sum(fate.work.device_s for fate in lived.fates if fate.end is End.SUCCEEDED)
    assert needed_s - 1e-3 * len(works) <= lived.busy_s <= lived.taken_s + 1e-6
    for fate in lived.fates:
        if fate.end is End.SUCCEEDED:
            assert fate.started_s is not None
            assert fate.ended_s is not None
            assert fate.work.at_s <= fate.started_s
            assert fate.started_s + fate.work.device_s <= fate.ended_s + 2e-3


@given(coming=COMING, seed=st.integers(0, 9))
@settings(max_examples=20)
def test_one_seed_means_one_story(coming: list[tuple[float, str, float, float | None, str]], seed: int) -> None:
    """The same work, setting and seed come to the same ends at the same moments."""
    works = works_of(coming)
    setting = Setting(warm=2, per_node=1, losses_per_h=100.0, cold_s=5.0, seed=seed)

    first, second = (live(works, setting, ByBacklog(aim=Aim(wait_s=5, calm_s=20))) for _ in range(2))

    assert [(fate.end, fate.ended_s) for fate in first.fates] == [(fate.end, fate.ended_s) for fate in second.fates]
    assert (first.moments, first.asked, first.taken_s) == (second.moments, second.asked, second.taken_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleepless:
    """A rule that never forgets, so that no look is left out."""

    #: The rule.
    rule: Scaling
    remembers_s: float = math.inf

    @property
    def every_s(self) -> float:
        """Return what the rule says."""
        return self.rule.every_s

    def wanted(self, sight: Sight) -> int:
        """Return what the rule says."""
        return self.rule.wanted(sight)


@given(
    gaps=st.lists(st.one_of(st.floats(0, 3), st.floats(0, 3), st.floats(500, 5000)), min_size=2, max_size=7),
    rule=st.sampled_from(["fixed", "backlog", "calls"]),
    least=st.integers(0, 2),
    losses=st.sampled_from([0.0, 0.0, 1.0]),
)
@settings(max_examples=40, deadline=None)
def test_looks_that_see_nothing_are_left_out(gaps: list[float], rule: str, least: int, losses: float) -> None:
    """Where nothing happens for long, every figure is that of a fleet which is looked at all the time."""
    works = works_of([(gap_s, "abc"[each % 3], 4.0, None, "uno") for each, gap_s in enumerate(gaps)])
    setting = Setting(warm=least, least=least, per_node=1, losses_per_h=losses, cold_s=20.0)

    told, looked_at = (live(works, setting, each) for each in (rule_of(rule), Sleepless(rule=rule_of(rule))))

    assert figures(told, gpu_hour=2.5) == figures(looked_at, gpu_hour=2.5)
    assert [(fate.end, fate.ended_s) for fate in told.fates] == [(fate.end, fate.ended_s) for fate in looked_at.fates]
    assert (told.asked, told.taken_s, told.holding_s) == (looked_at.asked, looked_at.taken_s, looked_at.holding_s)
    assert set(told.moments) <= set(looked_at.moments)


@pytest.mark.parametrize("rule", ["fixed", "backlog", "calls"])
def test_a_fleet_sleeps_for_days(rule: str) -> None:
    """Two days between two tasks take some looks at their beginning and their end, and none for each second."""
    works = works_of([(0.0, "a", 1.0, None, "uno"), (2 * 86400.0, "a", 1.0, None, "uno")])

    lived = live(works, Setting(warm=2, least=1), rule_of(rule))

    assert [fate.end for fate in lived.fates] == [End.SUCCEEDED] * 2
    assert len(lived.moments) < 6000


def rule_of(name: str) -> Scaling:
    """Make a rule that has seen nothing yet."""
    rules: dict[str, Scaling] = {
        "fixed": Fixed(replicas=2),
        "backlog": ByBacklog(aim=Aim(wait_s=5, calm_s=100)),
        "calls": ByCalls(),
    }
    return rules[name]


def test_more_replicas_are_never_worse() -> None:
    """The mean time from asking to the end falls, or stays, with every replica more."""
    means = [
        fmean((fate.ended_s or 0.0) - fate.work.at_s for fate in fixed(replicas).fates) for replicas in (1, 2, 3, 4, 8)
    ]

    assert means == sorted(means, reverse=True)
    assert means[-1] == pytest.approx(1.0 + 0.013 + 0.05, abs=0.01)


def test_one_replica_takes_as_long_as_its_work() -> None:
    """A single device is busy from the first arrival to the last end but for what it waits for, and no longer."""
    lived = fixed(1)

    assert lived.busy_s == pytest.approx(60.0, abs=0.1)
    assert lived.span_s == pytest.approx(60.5, abs=0.5)


def test_a_lost_node_costs_a_lease_and_a_try() -> None:
    """What a lost replica held is made by another one, at most three times; the fleet is made whole again."""
    works = evenly(300, every_s=1.0)
    setting = Setting(warm=3, per_node=1, losses_per_h=120.0, cold_s=10.0)

    lived = live(works, setting, Fixed(replicas=3))

    assert lived.asked["rescue"] > 0
    assert lived.asked["claim"] > len(works)
    assert {fate.end for fate in lived.fates} == {End.SUCCEEDED}
    assert {moment.target for moment in lived.moments} == {3}
    assert min(moment.up for moment in lived.moments) < 3


def test_a_flood_waits_behind_others() -> None:
    """One task of a stranger waits no longer than the task before it, however many wait of another tenant."""
    flood = [(0.0, "flood", 1.0, None, "uno")] * 50
    works = works_of([*flood, (5.0, "stranger", 1.0, None, "uno")])

    lived = live(works, Setting(warm=1), Fixed(replicas=1))

    stranger = lived.fates[-1]
    assert (stranger.ended_s or 0.0) - stranger.work.at_s < 2.6


def test_what_is_too_much_is_refused() -> None:
    """A tenant may leave only so many waiting."""
    works = works_of([(0.0, "flood", 1.0, None, "uno")] * 50)

    lived = live(works, Setting(warm=1, max_queued=10), Fixed(replicas=1))

    assert Counter(fate.end for fate in lived.fates) == {End.REFUSED: 39, End.SUCCEEDED: 11}


def test_a_cap_on_running_tasks_holds() -> None:
    """No tenant has more tasks running than it may, whoever is idle."""
    works = works_of([(0.0, "one", 1.0, None, "uno")] * 10)

    lived = live(works, Setting(warm=10, max_running=2), Fixed(replicas=10))

    assert lived.span_s == pytest.approx(5.0, abs=0.2)


def test_claims_take_turns() -> None:
    """Where a claim keeps others waiting for a second, a hundred replicas do no more than one task a second."""
    setting = replace(Setting(warm=100), turn_s=1.0)

    lived = live(evenly(40, every_s=0.01), setting, Fixed(replicas=100))

    assert lived.span_s == pytest.approx(41.0, abs=0.1)


def test_from_nothing_and_back() -> None:
    """Without replicas the first task waits for a cold start, and after the calm there are none."""
    works = [*evenly(5, every_s=0.1), replace(evenly(1, every_s=0.1)[0], number=5, at_s=500.0)]
    # As many as a replica holds count as one replica's work, so that one is all that is ever asked for.
    aim = Aim(wait_s=30, calm_s=100, capacity=4, units_per_s=8)

    lived = live(works, Setting(cold_s=60.0), ByBacklog(aim=aim))

    first, last = lived.fates[0], lived.fates[-1]
    for fate in (first, last):
        assert fate.started_s is not None
        assert 60 <= fate.started_s - fate.work.at_s <= 63
    assert any(moment.up == 0 and moment.target == 0 for moment in lived.moments if 200 < moment.at_s < 500)
    assert lived.taken_s < 60 + 100 + 10 + 60 + 10
