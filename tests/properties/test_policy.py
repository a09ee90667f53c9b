"""What holds for every choice of a group, and for all work that is stepped by such choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from models.policy import choose_group
from models.sample import Sample, ShapeKey

SHAPES = [
    ShapeKey(model=model, target_tokens=tokens, reference_tokens=0, styles=styles)
    for model, tokens, styles in [("uno", 256, 0), ("uno", 1024, 0), ("uso", 256, 0), ("uso", 256, 1)]
]
#: One arrival: its shape, its steps, and how many rounds after the one before it comes.
ARRIVALS = st.lists(st.tuples(st.sampled_from(SHAPES), st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=12)
CAPS = st.integers(1, 8)


def samples_of(arrivals: Sequence[tuple[ShapeKey, int, int]]) -> list[Sample]:
    """Make a sample for every arrival; its seed says which one it is."""
    return [
        Sample(request_id="r", index=number, seed=number, shape=shape, num_inference_steps=steps)
        for number, (shape, steps, _) in enumerate(arrivals)
    ]


def rounds_of(arrivals: Sequence[tuple[ShapeKey, int, int]], *, max_group: int) -> list[tuple[list[int], list[int]]]:
    """Step all arrivals to their end; return for every round who was resident and who stepped, in their order."""
    waiting = [(sample, gap) for sample, (_, _, gap) in zip(samples_of(arrivals), arrivals, strict=True)]
    resident: list[Sample] = []
    rounds = []
    pause = waiting[0][1]
    while waiting or resident:
        while waiting and (pause <= 0 or not resident):
            resident.append(waiting.pop(0)[0])
            pause = waiting[0][1] if waiting else 0
        group = choose_group(resident, max_group=max_group)
        rounds.append(([sample.seed for sample in resident], [sample.seed for sample in group]))
        stepped = {sample.seed: replace(sample, steps_done=sample.steps_done + 1) for sample in group}
        resident = [stepped.get(sample.seed, sample) for sample in resident]
        resident = [sample for sample in resident if not sample.is_denoised]
        pause -= 1
    return rounds


def ends_of(rounds: Sequence[tuple[list[int], list[int]]]) -> list[int]:
    """Return the samples in the order of their last steps."""
    last = {seed: number for number, (_, group) in enumerate(rounds) for seed in group}
    return sorted(last, key=lambda seed: (last[seed], seed))


@given(arrivals=ARRIVALS, max_group=CAPS)
def test_a_group_is_of_one_shape_and_within_the_cap(arrivals: list[tuple[ShapeKey, int, int]], max_group: int) -> None:
    """Every group has a first, never mixes shapes, holds nobody twice and never more than may share a call."""
    resident = samples_of(arrivals)

    group = choose_group(resident, max_group=max_group)

    assert 1 <= len(group) <= max_group
    assert {sample.shape for sample in group} == {resident[0].shape}
    assert len({(sample.request_id, sample.index) for sample in group}) == len(group)


@given(arrivals=ARRIVALS, max_group=CAPS)
def test_nobody_of_a_shape_is_passed_over(arrivals: list[tuple[ShapeKey, int, int]], max_group: int) -> None:
    """The longest resident leads, and whoever is left out came after all of its likes that were taken."""
    resident = samples_of(arrivals)

    group = choose_group(resident, max_group=max_group)

    left_out = [sample for sample in resident if sample.shape == group[0].shape and sample not in group]
    assert group[0] is resident[0]
    assert [sample.seed for sample in group + left_out] == sorted(sample.seed for sample in group + left_out)
    assert len(group) == max_group or not left_out


@given(arrivals=ARRIVALS, max_group=CAPS)
def test_all_work_ends(arrivals: list[tuple[ShapeKey, int, int]], max_group: int) -> None:
    """Every sample takes exactly its steps, and the longest resident takes one in every round, so nobody starves."""
    rounds = rounds_of(arrivals, max_group=max_group)

    stepped = [seed for _, group in rounds for seed in group]
    assert [stepped.count(number) for number in range(len(arrivals))] == [steps for _, steps, _ in arrivals]
    assert all(resident[0] in group for resident, group in rounds)


@given(arrivals=ARRIVALS)
def test_one_at_a_time_ends_in_the_order_of_arrival(arrivals: list[tuple[ShapeKey, int, int]]) -> None:
    """Without groups, work of any shape and length ends in the order in which it came."""
    rounds = rounds_of(arrivals, max_group=1)

    assert ends_of(rounds) == list(range(len(arrivals)))


@given(arrivals=ARRIVALS, steps=st.integers(1, 5), max_group=CAPS)
def test_equal_work_is_never_overtaken(arrivals: list[tuple[ShapeKey, int, int]], steps: int, max_group: int) -> None:
    """Among samples of one shape and length, none ends before one that came earlier, whatever else is resident."""
    equal = [(shape, steps, gap) for shape, _, gap in arrivals]

    ends = ends_of(rounds_of(equal, max_group=max_group))

    for shape in SHAPES:
        alike = [number for number in ends if equal[number][0] == shape]
        assert alike == sorted(alike)
