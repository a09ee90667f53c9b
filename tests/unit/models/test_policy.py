"""Which samples step next, in examples; tests/properties says what holds for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from models.policy import MARGIN, SHARE, Accounts, Candidate, Outlook, choose_group, outlook_of, patience_s
from models.sample import Sample, ShapeKey

SMALL = ShapeKey(model="uno", target_tokens=256, reference_tokens=0, styles=0)
LARGE = ShapeKey(model="uno", target_tokens=4096, reference_tokens=0, styles=0)


def candidate(name: str, shape: ShapeKey, *, urgency: float = 0.0, rank: int = 0) -> Candidate:
    """Make a request of one picture."""
    outlook = Outlook(counts_from_s=0, left_s=1, begin_by_s=99, urgent_s=urgency, postponed_s=urgency + 1000)
    return Candidate(request_id=name, samples=(0,), shape=shape, rank=rank, **outlook)


def chosen(waiting: Sequence[Candidate], **how: Any) -> list[Candidate]:
    """Return the requests of which a sample steps next, one for each sample."""
    return [one for one, _ in choose_group(waiting, **how)]


def test_one_alone_steps_alone() -> None:
    """With nobody else resident, a group is the one sample, however much room it has."""
    only = candidate("a", SMALL)

    assert chosen([only], max_group=8, now_s=0.0) == [only]


def test_the_most_urgent_leads_and_its_likes_follow() -> None:
    """Samples of the leader's shape step with it, the longest resident first; others wait."""
    a, b, c, d = (
        candidate("a", SMALL, urgency=3),
        candidate("b", LARGE, urgency=2),
        *[candidate(name, SMALL, urgency=urgency) for name, urgency in (("c", 9), ("d", 1))],
    )

    assert chosen([a, b, c, d], max_group=2, now_s=0.0) == [d, a]
    assert chosen([a, b, c, d], max_group=8, now_s=0.0) == [d, a, c]


@pytest.mark.parametrize(("waiting", "strangers"), [(3, 0), (8, 1), (12, 2)])
def test_strangers_share_where_it_pays(waiting: int, strangers: int) -> None:
    """The leader's own pictures come along; of strangers the most urgent, and the more of them the more others wait."""
    two = replace(candidate("0", SMALL), samples=(1, 3))
    others = [candidate(str(number), SMALL, urgency=50 - number) for number in range(1, waiting)]

    group = choose_group([*others, two], max_group=8, now_s=0.0, shared=lambda _: MARGIN / 6)

    assert group == [(two, 1), (two, 3), *[(other, 0) for other in others[::-1][:strangers]]]


def test_of_a_stranger_as_many_pictures_come_as_there_is_room_for() -> None:
    """The pictures of the most urgent stranger come in their order, and then those of the next."""
    leader, urgent = candidate("a", SMALL), replace(candidate("b", SMALL, urgency=1), samples=(0, 2, 3))
    late, others = candidate("c", SMALL, urgency=2), [candidate(str(number), LARGE, urgency=9) for number in range(5)]

    group = [chosen_of(n, [leader, late, urgent, *others]) for n in (2, 3, 5)]

    assert group == [["a0", "b0"], ["a0", "b0", "b2"], ["a0", "b0", "b2", "b3", "c0"]]


def chosen_of(max_group: int, waiting: Sequence[Candidate]) -> list[str]:
    """Return the samples that step next, where there is room for one stranger for every waiting request."""
    group = choose_group(waiting, max_group=max_group, now_s=0.0, shared=lambda _: MARGIN)
    return [f"{one.request_id}{index}" for one, index in group]


def test_nobody_is_late_for_the_sake_of_strangers() -> None:
    """A leader that would be late in company steps with its own pictures alone; one that is late anyway shares."""
    crowd = [candidate(str(number), SMALL, urgency=99) for number in range(9)]

    def group_of(begin_by_s: float) -> int:
        leader = replace(candidate("a", SMALL, urgency=-2000), left_s=5.0, begin_by_s=begin_by_s)
        return len(chosen([leader, *crowd], max_group=8, now_s=10.0, shared=lambda _: MARGIN / 4))

    assert [group_of(begin_by_s) for begin_by_s in (9.0, 12.0, 30.0)] == [3, 1, 3]


def test_a_leader_waits_for_no_more_strangers_than_come() -> None:
    """Whoever else waits, and of whatever shape, one stranger delays a leader by one and no more."""
    leader = replace(candidate("a", SMALL, urgency=-2000), left_s=5.0, begin_by_s=16.0)
    alike, others = (
        candidate("b", SMALL, urgency=99),
        [candidate(str(number), LARGE, urgency=99) for number in range(40)],
    )

    group = chosen([leader, alike, *others], max_group=4, now_s=10.0, shared=lambda _: MARGIN / 4)

    assert group == [leader, alike]


def test_strangers_come_by_rank_before_urgency() -> None:
    """What floods does not come along before what does not, however urgent it has become."""
    leader, patient = candidate("a", SMALL), candidate("b", SMALL, urgency=9)
    flood = [replace(candidate(str(number), SMALL, urgency=1), rank=9) for number in range(6)]

    assert chosen([leader, *flood, patient], max_group=2, now_s=0.0, shared=lambda _: 1.0) == [leader, patient]


def test_among_equals_the_longest_resident_leads() -> None:
    """Where nothing else tells samples apart, those who came first step."""
    a, b, c = (candidate(name, SMALL) for name in "abc")

    assert chosen([a, b, c], max_group=2, now_s=0.0) == [a, b]


def test_the_leader_need_not_have_company() -> None:
    """A lonely shape steps before a crowd of another that is less urgent."""
    lonely, crowd = candidate("a", LARGE), [candidate(str(number), SMALL, urgency=1) for number in range(5)]

    assert chosen([*crowd, lonely], max_group=8, now_s=0.0) == [lonely]


def test_a_lower_rank_goes_before_what_is_urgent() -> None:
    """Rank decides first, urgency among equals."""
    flood, newcomer = candidate("a", SMALL, urgency=0, rank=3), candidate("b", LARGE, urgency=99, rank=1)

    assert chosen([flood, newcomer], max_group=1, now_s=0.0) == [newcomer]


def test_what_is_named_first_goes_before_everything() -> None:
    """What is about to end is not overtaken, and naming what is not there changes nothing."""
    ending, newcomer = candidate("a", SMALL, urgency=9, rank=3), candidate("b", LARGE)

    assert chosen([newcomer, ending], max_group=1, now_s=0.0, first={"a"}) == [ending]
    assert chosen([newcomer, ending], max_group=1, now_s=0.0, first={"z"}) == [newcomer]


def fresh(work_s: float, *, at_s: float = 0.0) -> Outlook:
    """Return the outlook of a request of which nothing is done."""
    return outlook_of(at_s, asked_s=at_s, work_s=work_s, left_s=work_s)


def test_what_is_nearly_done_goes_before_what_has_just_begun() -> None:
    """Of requests that came together, the one with less left is more urgent; so is the smaller of two fresh ones."""
    nearly_done = outlook_of(0.0, asked_s=0.0, work_s=4, left_s=1)

    assert nearly_done["urgent_s"] < fresh(4)["urgent_s"]
    assert fresh(1)["urgent_s"] < fresh(4)["urgent_s"]


def test_waiting_makes_urgent() -> None:
    """However small a newcomer is, it is behind a request that has waited as long as is its patience, late or not."""
    waiting = fresh(4)["postponed_s"]

    assert fresh(0.001, at_s=patience_s(4))["urgent_s"] > waiting
    assert fresh(0.1, at_s=patience_s(4) / 2)["urgent_s"] < waiting


def test_what_is_late_makes_way() -> None:
    """A request that can still be in time goes before a more urgent one that cannot."""
    late, timely = candidate("a", SMALL, urgency=1), candidate("b", LARGE, urgency=50)
    late = replace(late, begin_by_s=9.9)

    assert chosen([late, timely], max_group=1, now_s=9.0) == [late]
    assert chosen([late, timely], max_group=1, now_s=10.0) == [timely]


def test_what_has_to_begin_goes_first_where_the_most_urgent_has_time() -> None:
    """Who would be late after the most urgent goes before it, unless that makes it late or it came too long after."""
    most = replace(candidate("a", SMALL, urgency=1), left_s=5.0, begin_by_s=13.0)
    other = replace(candidate("b", LARGE, urgency=50), left_s=2.0, begin_by_s=12.0)

    def leads(*waiting: Candidate) -> str:
        return chosen(waiting, max_group=1, now_s=10.0)[0].request_id

    assert leads(most, other) == "b"
    assert leads(replace(most, begin_by_s=11.0), other) == "a"
    assert leads(most, replace(other, begin_by_s=16.0)) == "a"
    assert leads(most, replace(other, counts_from_s=1.5)) == "a"


def test_the_first_due_is_pressed() -> None:
    """Of several that would be late, the one that is late first goes first."""
    most = replace(candidate("a", SMALL, urgency=1), left_s=5.0, begin_by_s=20.0)
    soon, sooner = (
        replace(candidate(name, LARGE, urgency=50), left_s=left_s, begin_by_s=11.0)
        for name, left_s in (("b", 2.0), ("c", 1.0))
    )

    assert chosen([most, soon, sooner], max_group=1, now_s=10.0) == [sooner]


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
