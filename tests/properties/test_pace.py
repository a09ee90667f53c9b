"""How fast a device is taken to be, whatever single steps take."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cost import cost_table
from models.pace import MOST_SLOWER, OwnPace, Pace
from models.sample import ShapeKey

SHAPE = ShapeKey(model="uno", target_tokens=1024, reference_tokens=0, styles=0)
OTHER = ShapeKey(model="uno", target_tokens=4096, reference_tokens=0, styles=0)
#: Seconds of a step on a device of its own: from the fastest to a slow CPU.
ORDINARY = st.floats(0.001, 100)
#: How many times as long one of them lasts, e.g. because it is compiled first.
TIMES = st.floats(1, 10_000)
#: Steps until one such is forgotten.
UNTIL_FORGOTTEN = 28


@given(ordinary_s=ORDINARY, times=TIMES, before=st.integers(0, 40))
def test_one_slow_step_is_soon_forgotten(ordinary_s: float, times: float, before: int) -> None:
    """Wherever it comes, the very first one too, after 28 others steps are taken to last as long as they do."""
    pace, calm = Pace(cost_table()), Pace(cost_table())
    took_s = [*[ordinary_s] * before, ordinary_s * times, *[ordinary_s] * UNTIL_FORGOTTEN]

    for each in took_s:
        pace.learn(SHAPE, count=1, took_s=each)
        calm.learn(SHAPE, count=1, took_s=ordinary_s)

    assert pace.usual_s(SHAPE, count=1) <= 1.5 * ordinary_s
    assert pace.factor <= 1.5 * calm.factor


@given(ordinary_s=ORDINARY, times=TIMES, before=st.integers(1, 40))
def test_the_first_step_of_a_kind_counts_little(ordinary_s: float, times: float, before: int) -> None:
    """However long it takes, it makes no other kind of step much longer, nor its own more than four times so."""
    pace = Pace(cost_table())
    for _ in range(before):
        pace.learn(SHAPE, count=1, took_s=ordinary_s)
    factor, usual_s = pace.factor, pace.usual_s(OTHER, count=1)

    pace.learn(OTHER, count=1, took_s=usual_s * times)

    assert pace.factor <= 1.2 * factor
    assert pace.usual_s(OTHER, count=1) <= 1.001 * MOST_SLOWER * usual_s


@given(first_s=ORDINARY, ordinary_s=ORDINARY)
def test_a_device_that_is_another_speed_is_known_in_time(first_s: float, ordinary_s: float) -> None:
    """Whatever its first step was like, a device is known for as fast as it is after a few dozen."""
    pace = Pace(cost_table())
    pace.learn(SHAPE, count=1, took_s=first_s)

    for _ in range(200):
        pace.learn(SHAPE, count=1, took_s=ordinary_s)

    assert 0.9 * ordinary_s <= pace.usual_s(SHAPE, count=1) <= 1.1 * ordinary_s


@given(expected=TIMES, own=TIMES, steps=st.integers(1, 40))
def test_a_request_is_believed_more_with_each_of_its_steps(expected: float, own: float, steps: int) -> None:
    """What it takes lies between what is expected and what its steps took, and nearer to these with every step."""
    pace, distances = OwnPace(), [abs(expected - own)]

    for _ in range(steps):
        pace.learn(own)
        distances.append(abs(pace.factor(expected) - own))

    assert min(expected, own) * 0.999 <= pace.factor(expected) <= max(expected, own) * 1.001
    assert all(later <= earlier + 1e-6 * own for earlier, later in itertools.pairwise(distances))


@given(times=st.floats(1, MOST_SLOWER), before=st.integers(0, 40), after=st.integers(0, 40))
def test_one_slow_step_makes_no_request_look_twice_as_long(times: float, before: int, after: int) -> None:
    """However long one of its steps counts, what is expected of it and what its others took weigh more."""
    pace = OwnPace()

    for each in [*[1.0] * before, times, *[1.0] * after]:
        pace.learn(each)

    assert pace.factor(1.0) <= 2.0


def test_a_first_step_that_misled_is_forgotten() -> None:
    """A step that counts as a thousand, e.g. the first of a device that compiles, says no more once one was shorter."""
    pace = OwnPace()
    pace.learn(1000.0)

    pace.learn(1.0)

    assert pace.factor(1.0) == pytest.approx(1.0)
