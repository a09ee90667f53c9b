"""Which samples step next, in examples; tests/properties says what holds for all of them."""

from __future__ import annotations

import pytest

from models.policy import SHARE, Accounts, Candidate, choose_group, patience_s, urgency_s
from models.sample import Sample, ShapeKey

SMALL = ShapeKey(model="uno", target_tokens=256, reference_tokens=0, styles=0)
LARGE = ShapeKey(model="uno", target_tokens=4096, reference_tokens=0, styles=0)


def candidate(name: str, shape: ShapeKey, *, urgency: float = 0.0, rank: int = 0) -> Candidate:
    """Make the first picture of a request."""
    return Candidate(request_id=name, index=0, shape=shape, rank=rank, urgency_s=urgency)


def test_one_alone_steps_alone() -> None:
    """With nobody else resident, a group is the one sample, however much room it has."""
    only = candidate("a", SMALL)

    assert choose_group([only], max_group=8) == [only]


def test_the_most_urgent_leads_and_its_likes_follow() -> None:
    """Samples of the leader's shape step with it, the longest resident first; others wait."""
    a, b, c, d = (
        candidate("a", SMALL, urgency=3),
        candidate("b", LARGE, urgency=2),
        *[candidate(name, SMALL, urgency=urgency) for name, urgency in (("c", 9), ("d", 1))],
    )

    assert choose_group([a, b, c, d], max_group=2) == [d, a]
    assert choose_group([a, b, c, d], max_group=8) == [d, a, c]


def test_among_equals_the_longest_resident_leads() -> None:
    """Where nothing else tells samples apart, those who came first step."""
    a, b, c = (candidate(name, SMALL) for name in "abc")

    assert choose_group([a, b, c], max_group=2) == [a, b]


def test_the_leader_need_not_have_company() -> None:
    """A lonely shape steps before a crowd of another that is less urgent."""
    lonely, crowd = candidate("a", LARGE), [candidate(str(number), SMALL, urgency=1) for number in range(5)]

    assert choose_group([*crowd, lonely], max_group=8) == [lonely]


def test_a_lower_rank_goes_before_what_is_urgent() -> None:
    """Rank decides first, urgency among equals."""
    flood, newcomer = candidate("a", SMALL, urgency=0, rank=3), candidate("b", LARGE, urgency=99, rank=1)

    assert choose_group([flood, newcomer], max_group=1) == [newcomer]


def test_what_is_named_first_goes_before_everything() -> None:
    """What is about to end is not overtaken, and naming what is not there changes nothing."""
    ending, newcomer = candidate("a", SMALL, urgency=9, rank=3), candidate("b", LARGE)

    assert choose_group([newcomer, ending], max_group=1, first={"a"}) == [ending]
    assert choose_group([newcomer, ending], max_group=1, first={"z"}) == [newcomer]


def test_what_is_nearly_done_goes_before_what_has_just_begun() -> None:
    """Of requests that came together, the one with less left is more urgent; so is the smaller of two fresh ones."""
    fresh = urgency_s(0.0, work_s=4, left_s=4)

    assert urgency_s(0.0, work_s=4, left_s=1) < fresh
    assert urgency_s(0.0, work_s=1, left_s=1) < fresh


def test_waiting_makes_urgent() -> None:
    """However small a newcomer is, it is behind a request that has waited as long as is its patience."""
    waiting = urgency_s(0.0, work_s=4, left_s=4)

    assert urgency_s(patience_s(4) + 0.001, work_s=0, left_s=0) > waiting
    assert urgency_s(patience_s(4) / 2, work_s=0.1, left_s=0.1) < waiting


def test_what_a_tenant_asks_beyond_its_share_counts_as_later() -> None:
    """Requests of one tenant count as waiting one after the other, a stranger's from its arrival."""
    accounts = Accounts()

    flood = [accounts.arrive("flood", arrived_s=100.0, work_s=2) for _ in range(3)]
    polite = accounts.arrive("polite", arrived_s=101.0, work_s=2)

    assert flood == [100.0, 100.0 + 2 * SHARE, 100.0 + 4 * SHARE]
    assert polite == 101.0


def test_a_debt_passes() -> None:
    """Who comes back after its time is over counts from its arrival, and nothing is saved up by waiting."""
    accounts = Accounts()
    accounts.arrive("a", arrived_s=0.0, work_s=2)

    again = [accounts.arrive("a", arrived_s=2 * SHARE + seconds, work_s=1) for seconds in (0, 1000)]

    assert again == [2 * SHARE, 2 * SHARE + 1000]


@pytest.mark.parametrize(("steps_done", "is_denoised"), [(4, False), (10, True)])
def test_a_sample_says_when_only_decoding_is_left(steps_done: int, *, is_denoised: bool) -> None:
    """A sample is denoised once it has taken all its steps."""
    sample = Sample(request_id="a", index=0, seed=1, shape=SMALL, num_inference_steps=10, steps_done=steps_done)

    assert sample.is_denoised is is_denoised
