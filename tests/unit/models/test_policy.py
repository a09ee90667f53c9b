"""Which samples step next, in examples; tests/properties says what holds for all of them."""

from __future__ import annotations

from models.policy import choose_group
from models.sample import Sample, ShapeKey

SMALL = ShapeKey(model="uno", target_tokens=256, reference_tokens=0, styles=0)
LARGE = ShapeKey(model="uno", target_tokens=4096, reference_tokens=0, styles=0)


def sample(name: str, shape: ShapeKey, *, steps_done: int = 0) -> Sample:
    """Make the first picture of a request of ten steps."""
    return Sample(request_id=name, index=0, seed=1, shape=shape, num_inference_steps=10, steps_done=steps_done)


def test_one_alone_steps_alone() -> None:
    """With nobody else resident, a group is the one sample, however much room it has."""
    only = sample("a", SMALL)

    assert choose_group([only], max_group=8) == [only]


def test_the_longest_resident_leads_and_its_likes_follow() -> None:
    """Samples of the leader's shape step with it, at whatever step they are; others wait."""
    a, b, c = sample("a", SMALL, steps_done=9), sample("b", LARGE), sample("c", SMALL)

    assert choose_group([a, b, c], max_group=8) == [a, c]


def test_the_cap_keeps_the_earliest() -> None:
    """When more are alike than may share a call, those who came first step."""
    a, b, c = (sample(name, SMALL) for name in "abc")

    assert choose_group([a, b, c], max_group=2) == [a, b]


def test_the_leader_need_not_have_company() -> None:
    """A lonely shape steps before a crowd of another that came later."""
    lonely, crowd = sample("a", LARGE), [sample(str(number), SMALL) for number in range(5)]

    assert choose_group([lonely, *crowd], max_group=8) == [lonely]


def test_a_sample_says_when_only_decoding_is_left() -> None:
    """A sample is denoised once it has taken all its steps."""
    running, over = sample("a", SMALL, steps_done=4), sample("b", SMALL, steps_done=10)

    assert (running.is_denoised, over.is_denoised) == (False, True)
