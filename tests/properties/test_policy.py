"""What holds for every choice of a group, and for all work that is stepped by such choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from models.cost import cost_table
from models.policy import MARGIN, MOST_DEBT_S, Accounts, Candidate, choose_group, outlook_of, patience_s
from models.resident import shared_part
from models.sample import ShapeKey

SHAPES = [
    ShapeKey(model=model, target_tokens=tokens, reference_tokens=0, styles=styles)
    for model, tokens, styles in [("uno", 256, 0), ("uno", 1024, 0), ("uso", 256, 0), ("uso", 256, 1)]
]
CAPS = st.integers(1, 8)
NOW = st.floats(0, 100)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        request_id=st.sampled_from([f"{letter}{number}" for letter in "abc" for number in range(10)]),
        samples=st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True),
        shape=st.sampled_from(SHAPES),
        rank=st.integers(0, 3),
        counts_from_s=st.floats(0, 100),
        left_s=st.floats(0, 50),
        begin_by_s=st.floats(0, 100),
        urgent_s=st.floats(0, 200),
        postponed_s=st.floats(200, 400),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda one: one.request_id,
)
#: Which part of a lone step another sample would not add, also as replicas say it; with None whoever is alike shares.
SHARED = st.one_of(
    st.none(), st.floats(0, 1).map(lambda part: lambda _: part), st.just(partial(shared_part, costs=cost_table()))
)
Shared = Callable[[ShapeKey], float] | None


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One arrival."""

    shape: ShapeKey
    tenant: str
    #: How long one step takes, in seconds.
    step_s: float
    steps: int
    #: Seconds after the arrival before it.
    gap_s: float


WISHES = st.lists(
    st.builds(
        Wish,
        shape=st.sampled_from(SHAPES),
        tenant=st.sampled_from(["alice", "bob", "carol"]),
        step_s=st.sampled_from([0.01, 0.1, 1.0, 10.0]),
        steps=st.integers(1, 5),
        gap_s=st.sampled_from([0.0, 0.1, 5.0, 300.0]),
    ),
    min_size=1,
    max_size=15,
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """Who was there, and who stepped."""

    resident: Sequence[int]
    group: Sequence[int]


def steps_of(wishes: Sequence[Wish], *, max_group: int, shared: Shared = None) -> tuple[list[Step], list[float]]:
    """Step all wishes to their end on a virtual clock; return the steps, and from when each wish counts as waiting."""
    arrived_s = [sum(wish.gap_s for wish in wishes[: number + 1]) for number in range(len(wishes))]
    accounts = Accounts()
    counts_from_s = [
        accounts.arrive(wish.tenant, arrived_s=at_s, work_s=wish.steps * wish.step_s)
        for wish, at_s in zip(wishes, arrived_s, strict=True)
    ]
    left = [wish.steps for wish in wishes]
    now_s, steps = 0.0, []
    while any(left):
        resident = [number for number, at_s in enumerate(arrived_s) if at_s <= now_s and left[number]]
        if not resident:
            now_s = min(at_s for number, at_s in enumerate(arrived_s) if left[number])
            continue
        waiting = [
            _candidate(number, wishes[number], counts_from_s[number], arrived_s[number], left[number])
            for number in resident
        ]
        chosen = choose_group(waiting, max_group=max_group, now_s=now_s, shared=shared)
        group = [int(one.request_id) for one, _ in chosen]
        steps.append(Step(resident=resident, group=group))
        for number in group:
            left[number] -= 1
        now_s += wishes[group[0]].step_s
    return steps, counts_from_s


def _candidate(number: int, wish: Wish, counts_from_s: float, asked_s: float, left: int) -> Candidate:
    outlook = outlook_of(counts_from_s, asked_s=asked_s, work_s=wish.steps * wish.step_s, left_s=left * wish.step_s)
    return Candidate(request_id=str(number), samples=(0,), shape=wish.shape, rank=0, **outlook)


def moment_of(one: Candidate, now_s: float) -> float:
    """Return by when a candidate is urgent, or postponed."""
    return one.urgent_s if now_s <= one.begin_by_s else one.postponed_s


def moved(one: Candidate, *, by_s: float) -> Candidate:
    """Return a candidate with every moment later, in whole seconds, which floats add exactly."""
    return replace(
        one,
        left_s=float(round(one.left_s)),
        counts_from_s=round(one.counts_from_s) + by_s,
        begin_by_s=round(one.begin_by_s) + by_s,
        urgent_s=round(one.urgent_s) + by_s,
        postponed_s=round(one.postponed_s) + by_s,
    )


@given(waiting=CANDIDATES, max_group=CAPS, now_s=NOW, shared=SHARED)
def test_a_group_is_of_one_shape_and_within_the_cap(
    waiting: list[Candidate], max_group: int, now_s: float, shared: Shared
) -> None:
    """Every group has a first, never mixes shapes, holds nobody twice and never more than may share a call."""
    group = choose_group(waiting, max_group=max_group, now_s=now_s, shared=shared)

    assert 1 <= len(group) <= max_group
    assert len({one.shape for one, _ in group}) == 1
    assert len({(one.request_id, index) for one, index in group}) == len(group)
    assert all(one in waiting and index in one.samples for one, index in group)


@given(waiting=CANDIDATES, max_group=CAPS, now_s=NOW, part=st.floats(0, 1))
def test_strangers_delay_nobody_for_more_than_they_spare(
    waiting: list[Candidate], max_group: int, now_s: float, part: float
) -> None:
    """A leader's own pictures come first; of strangers no more than pay come, and none for whose sake it is late."""
    group = choose_group(waiting, max_group=max_group, now_s=now_s, shared=lambda _: part)

    leader = group[0][0]
    own = [index for one, index in group if one is leader]
    strangers, spare_s = len(group) - len(own), leader.begin_by_s - now_s
    assert own == list(leader.samples[:max_group])
    assert [one for one, _ in group[: len(own)]] == [leader] * len(own)
    assert strangers <= len(waiting) * part / MARGIN
    assert not 0 <= spare_s < strangers * leader.left_s


@given(waiting=CANDIDATES, now_s=NOW, first=st.sets(st.sampled_from(["a0", "b0", "c0", "z"])), shared=SHARED)
def test_company_changes_no_leader(waiting: list[Candidate], now_s: float, first: set[str], shared: Shared) -> None:
    """Who leads alone leads a group, so what holds for whoever steps alone holds for who leads in groups."""
    [alone] = choose_group(waiting, max_group=1, now_s=now_s, first=first, shared=shared)

    group = choose_group(waiting, max_group=8, now_s=now_s, first=first, shared=shared)

    assert group[0] == alone


@given(waiting=CANDIDATES, max_group=CAPS, now_s=NOW)
def test_no_place_of_a_group_is_wasted(waiting: list[Candidate], max_group: int, now_s: float) -> None:
    """Who is alike and left out was left out because the group was full."""
    group = choose_group(waiting, max_group=max_group, now_s=now_s)

    alike = [(one, index) for one in waiting if one.shape == group[0][0].shape for index in one.samples]
    left_out = [each for each in alike if each not in group]
    assert len(group) == max_group or not left_out


@given(waiting=CANDIDATES, now_s=NOW, first=st.sets(st.sampled_from(["a0", "b0", "c0", "z"])))
def test_the_leader_is_pressed_or_the_most_urgent_of_the_foremost(
    waiting: list[Candidate], now_s: float, first: set[str]
) -> None:
    """Named goes before unnamed, then rank, then urgency; before that only what has to be begun, for as long as it may.

    Who is put before the most urgent would be late after it, is in time now, and leaves it in time, too.
    """
    [(leader, _)] = choose_group(waiting, max_group=1, now_s=now_s, first=first)

    most = min(waiting, key=lambda one: (one.request_id not in first, one.rank, moment_of(one, now_s)))
    assert (leader.request_id in first, leader.rank) == (most.request_id in first, most.rank)
    if moment_of(leader, now_s) != moment_of(most, now_s):
        assert now_s <= leader.begin_by_s < now_s + most.left_s
        assert now_s + leader.left_s <= most.begin_by_s + 1e-9
        assert leader.counts_from_s < most.urgent_s


@given(waiting=CANDIDATES, now_s=st.integers(0, 100))
def test_a_choice_knows_no_time_but_what_it_is_told(waiting: list[Candidate], now_s: int) -> None:
    """With every moment moved by as much as the clock, the choice is the same."""
    whole, later = ([moved(one, by_s=by_s) for one in waiting] for by_s in (0.0, 1024.0))

    chosen = choose_group(whole, max_group=8, now_s=now_s)
    chosen_later = choose_group(later, max_group=8, now_s=now_s + 1024.0)

    assert [(one.request_id, index) for one, index in chosen] == [
        (one.request_id, index) for one, index in chosen_later
    ]


@given(wishes=WISHES, max_group=CAPS, shared=SHARED)
def test_all_work_ends(wishes: list[Wish], max_group: int, shared: Shared) -> None:
    """Every sample takes exactly its steps."""
    steps, _ = steps_of(wishes, max_group=max_group, shared=shared)

    stepped = [number for step in steps for number in step.group]
    assert [stepped.count(number) for number in range(len(wishes))] == [wish.steps for wish in wishes]


@given(wishes=WISHES, max_group=CAPS, shared=SHARED)
def test_nobody_starves(wishes: list[Wish], max_group: int, shared: Shared) -> None:
    """Nobody leads while somebody waits who counts as waiting since a whole patience before."""
    steps, counts_from_s = steps_of(wishes, max_group=max_group, shared=shared)

    for step in steps:
        leader = counts_from_s[step.group[0]]
        for number in step.resident:
            wish = wishes[number]
            assert leader <= counts_from_s[number] + patience_s(wish.steps * wish.step_s)


@given(wishes=WISHES)
def test_a_tenants_account_never_runs_ahead_of_what_it_asked(wishes: list[Wish]) -> None:
    """Nobody counts as waiting before its arrival, nor later than four times the work its tenant asked for before."""
    _, counts_from_s = steps_of(wishes, max_group=1)

    at_s = 0.0
    for number, wish in enumerate(wishes):
        at_s += wish.gap_s
        asked_s = sum(4 * other.steps * other.step_s for other in wishes[:number] if other.tenant == wish.tenant)
        assert at_s <= counts_from_s[number] <= at_s + asked_s + 1e-6


@given(floods=st.lists(st.integers(1, 300), min_size=1, max_size=20), gap_s=st.sampled_from([0.0, 0.1, 5.0]))
def test_no_flood_is_held_against_its_tenant_for_longer_than_the_bound(floods: list[int], gap_s: float) -> None:
    """However much a tenant has asked for, its next request counts as waiting ten minutes after it came at the latest.

    So nobody whose request comes later than that, and a patience, is put before it.
    """
    accounts = Accounts()
    moments = [
        accounts.arrive("flood", arrived_s=number * gap_s, work_s=60.0 * work) for number, work in enumerate(floods)
    ]

    next_s = accounts.arrive("flood", arrived_s=len(floods) * gap_s, work_s=1.0)

    stranger_s = accounts.arrive("stranger", arrived_s=len(floods) * gap_s + MOST_DEBT_S + patience_s(1.0), work_s=1e-3)
    assert next_s <= len(floods) * gap_s + MOST_DEBT_S
    assert [*moments, next_s] == sorted([*moments, next_s])
    last = outlook_of(next_s, asked_s=0.0, work_s=1.0, left_s=1.0)
    assert last["postponed_s"] <= outlook_of(stranger_s, asked_s=stranger_s, work_s=1e-3, left_s=1e-3)["urgent_s"]


@given(wishes=WISHES, steps=st.integers(1, 5), max_group=CAPS)
def test_equal_work_of_a_tenant_is_not_overtaken_in_time(wishes: list[Wish], steps: int, max_group: int) -> None:
    """Among a tenant's requests of one shape and length that can be in time, none ends before one that came earlier."""
    # All of it takes less than the two seconds that each may wait.
    alike = [replace(wish, steps=steps, tenant="alice", step_s=0.02) for wish in wishes]

    taken, _ = steps_of(alike, max_group=max_group)

    last = {number: place for place, step in enumerate(taken) for number in step.group}
    for shape in SHAPES:
        ends = [last[number] for number, wish in enumerate(alike) if wish.shape == shape]
        assert ends == sorted(ends)
