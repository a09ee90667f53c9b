"""How fast a device is taken to be, whatever single steps take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.cost import cost_table
from models.pace import MOST_SLOWER, Pace
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
