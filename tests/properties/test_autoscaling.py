"""What holds for every backlog and every order of them, when replicas are wanted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.autoscaling import ENOUGH_S, Aim, Need, needed, remembered, speed, wanted
from deployments.tasks.backlog import Backlog, Run

COUNTS = st.integers(0, 500)
UNITS = st.floats(0, 1e5)
SPEEDS = st.floats(0.01, 100)
AIMS = st.builds(Aim, wait_s=st.floats(1, 600), calm_s=st.floats(1, 900), capacity=st.integers(1, 8))
#: Needs after one another: seconds since the one before, and replicas.
STEPS = st.lists(st.tuples(st.floats(0.1, 400), st.integers(0, 20)), min_size=1, max_size=60)


def follow(steps: list[tuple[float, int]], *, calm_s: float) -> list[tuple[float, int, int]]:
    """Return the moment, the need and what was wanted, for every step."""
    told, needs, at_s = [], (), 0.0  # type: tuple[list[tuple[float, int, int]], tuple[Need, ...], float]
    for pause_s, replicas in steps:
        at_s += pause_s
        needs = remembered(needs, Need(at_s=at_s, replicas=replicas), calm_s=calm_s)
        told.append((at_s, replicas, wanted(needs)))
    return told


@given(queued=COUNTS, running=COUNTS, units=UNITS, up=COUNTS, aim=AIMS)
def test_nothing_is_needed_only_for_nothing(queued: int, running: int, units: float, up: int, aim: Aim) -> None:
    """Without work no replica is needed, and with any at least one."""
    backlog = Backlog(queued=queued, running=running, queued_units=units if queued else 0.0)

    assert (needed(backlog, aim=aim, units_per_s=1.0, up=up) == 0) == (queued == running == 0)


@given(queued=st.integers(1, 500), units=UNITS, aim=AIMS, units_per_s=SPEEDS)
def test_what_is_needed_is_in_time(queued: int, units: float, aim: Aim, units_per_s: float) -> None:
    """As many replicas as are needed do what waits within the aimed wait, and one fewer would not."""
    backlog = Backlog(queued=queued, running=0, queued_units=units)

    replicas = needed(backlog, aim=aim, units_per_s=units_per_s, up=0)

    assert units <= replicas * units_per_s * aim.wait_s * (1 + 1e-9)
    assert replicas == 1 or units > (replicas - 1) * units_per_s * aim.wait_s * (1 - 1e-9)


@given(units=st.tuples(UNITS, UNITS), running=st.tuples(COUNTS, COUNTS), up=st.tuples(COUNTS, COUNTS), aim=AIMS)
def test_more_work_never_needs_fewer(
    units: tuple[float, float], running: tuple[int, int], up: tuple[int, int], aim: Aim
) -> None:
    """More that waits, runs or is up needs as many replicas or more."""
    less, more = (
        needed(
            Backlog(queued=1, running=choose(running), queued_units=choose(units)),
            aim=aim,
            units_per_s=1.0,
            up=choose(up),
        )
        for choose in (min, max)
    )

    assert less <= more


@given(running=COUNTS, idle=COUNTS)
def test_each_that_runs_needs_its_own(running: int, idle: int) -> None:
    """Unless something else is said, no task that runs counts as less than the work of one replica."""
    backlog = Backlog(queued=0, running=running, queued_units=0.0)

    assert needed(backlog, aim=Aim(), units_per_s=1.0, up=running + idle) == running


@given(running=st.integers(1, 500), up=st.integers(1, 500))
def test_what_runs_never_needs_more_than_there_are(running: int, up: int) -> None:
    """Without anything that waits, no more are needed than are up, however many tasks each of them holds."""
    backlog = Backlog(queued=0, running=running, queued_units=0.0)

    assert needed(backlog, aim=Aim(), units_per_s=1.0, up=up) <= up


@given(units=UNITS, running=st.integers(0, 500), aim=AIMS, units_per_s=SPEEDS)
def test_what_waits_needs_its_own(units: float, running: int, aim: Aim, units_per_s: float) -> None:
    """Beside those that are busy there are as many as work off what waits in time, but for less than one's work."""
    backlog = Backlog(queued=1, running=running, queued_units=units)

    replicas = needed(backlog, aim=aim, units_per_s=units_per_s, up=running)

    busy = -(-running // aim.capacity)
    assert (replicas - busy + 1) * units_per_s * aim.wait_s * (1 + 1e-9) >= units


@given(steps=STEPS, calm_s=st.floats(1, 900))
def test_up_at_once(steps: list[tuple[float, int]], calm_s: float) -> None:
    """What is needed is wanted at once."""
    assert all(replicas >= need for _, need, replicas in follow(steps, calm_s=calm_s))


@given(steps=STEPS, calm_s=st.floats(1, 900))
def test_down_after_calm_alone(steps: list[tuple[float, int]], calm_s: float) -> None:
    """As many as are wanted were needed at some moment within the calm time, and never fewer than at any of them."""
    told = follow(steps, calm_s=calm_s)

    for now_s, _, replicas in told:
        lately = [need for at_s, need, _ in told if now_s - calm_s < at_s <= now_s]
        assert replicas == max(lately)


@given(steps=STEPS, calm_s=st.floats(1, 900))
def test_never_flapping(steps: list[tuple[float, int]], calm_s: float) -> None:
    """After going up, what is wanted goes down only when the calm time is over."""
    told = follow(steps, calm_s=calm_s)

    for i in range(1, len(told)):
        rose_s, _, high = told[i]
        if high > told[i - 1][2]:
            assert all(replicas >= high for at_s, _, replicas in told[i:] if at_s - calm_s < rose_s)


@given(steps=STEPS, calm_s=st.floats(1, 900))
def test_down_to_nothing_in_the_end(steps: list[tuple[float, int]], calm_s: float) -> None:
    """When nothing was needed for the calm time, nothing is wanted."""
    assert follow([*steps, (calm_s + 1, 0)], calm_s=calm_s)[-1][2] == 0


@given(steps=STEPS, calm_s=st.floats(1, 900))
def test_little_is_remembered(steps: list[tuple[float, int]], calm_s: float) -> None:
    """What is remembered falls from one to the next, so it never grows beyond the number of replicas."""
    needs: tuple[Need, ...] = ()
    for number, (_, replicas) in enumerate(steps):
        needs = remembered(needs, Need(at_s=float(number), replicas=replicas), calm_s=calm_s)

        assert [need.replicas for need in needs] == sorted({need.replicas for need in needs}, reverse=True)


@given(device_s=st.lists(st.floats(0.1, 60), min_size=1, max_size=20), units_per_s=st.floats(0.1, 50))
def test_speed_is_that_of_a_busy_device(device_s: list[float], units_per_s: float) -> None:
    """However a device's time was shared out, its speed is units by seconds of it."""
    runs = [Run(units=units_per_s * own_s, device_s=own_s) for own_s in [*device_s, ENOUGH_S]]

    assert speed(runs) == pytest.approx(units_per_s)


@given(units=UNITS, device_s=st.floats(0, ENOUGH_S, exclude_max=True))
def test_little_says_nothing_of_speed(units: float, device_s: float) -> None:
    """What a device did for a moment alone is no measure."""
    assert speed([Run(units=units, device_s=device_s)]) is None
