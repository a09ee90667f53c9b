"""What a process answers: read where it is possible, and never believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.decoding.rules import MAX_ASPECT, MAX_PIXELS, MAX_SIDE, MIN_SIDE, Refusal, refusal_of
from deployments.decoding.wire import ANSWER, NotAnAnswer, answered


@pytest.mark.parametrize("why", Refusal)
def test_a_refusal_travels(why: Refusal) -> None:
    """Every reason arrives as itself."""
    assert answered(ANSWER.pack(why, 0, 0)) is why


@given(st.binary(min_size=ANSWER.size, max_size=ANSWER.size))
def test_whatever_comes_is_bounded_or_no_answer(head: bytes) -> None:
    """No bytes make the service reserve more than the largest picture that is allowed."""
    try:
        answer = answered(head)
    except NotAnAnswer:
        return

    assert isinstance(answer, Refusal) or refusal_of(*answer) is None


@pytest.mark.parametrize(("width", "height"), [(0, 0), (2**32 - 1, 2**32 - 1), (8_193, 2_000), (15, 15)])
def test_a_picture_that_is_not_allowed_is_no_answer(width: int, height: int) -> None:
    """A process that decodes what it should have refused is not sound."""
    with pytest.raises(NotAnAnswer):
        answered(ANSWER.pack(0, width, height))


@given(st.integers(0, 20_000), st.integers(0, 20_000))
def test_what_is_taken_is_within_all_bounds(width: int, height: int) -> None:
    """A size is taken if and only if its sides, its pixels and its proportions are; turning it changes nothing."""
    short, long = sorted((width, height))
    is_within = short >= MIN_SIDE and long <= MAX_SIDE and long <= MAX_ASPECT * short and width * height <= MAX_PIXELS

    assert (refusal_of(width, height) is None) == is_within
    assert refusal_of(width, height) is refusal_of(height, width)
