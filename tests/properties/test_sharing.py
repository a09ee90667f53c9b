"""How many share a call, on devices whose memory comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.sample import ShapeKey
from models.sharing import STEPS_TO_GROW, Sharing

SHAPE = ShapeKey(model="uno", target_tokens=4096, reference_tokens=0, styles=0)
SIZES = st.integers(min_value=1, max_value=16)
PROVEN = st.sampled_from([None, {SHAPE: 4}, {SHAPE: 16}])


def stepped(sharing: Sharing, *, room: int, steps: int) -> int:
    """Step as many as may share, on a device with memory for ``room``; return how often there was none."""
    failures = 0
    for _ in range(steps):
        group = sharing.group_of(99, SHAPE)
        while group > room:
            failures += 1
            sharing.halve(SHAPE, group=group)
            group = sharing.group_of(99, SHAPE)
        sharing.succeed(SHAPE, group=group)
    return failures


@given(max_group=SIZES, room=SIZES, proven=PROVEN)
def test_want_of_memory_becomes_rare(max_group: int, room: int, proven: dict[ShapeKey, int] | None) -> None:
    """What there is never memory for is tried ever more seldom: a handful of times in thousands of steps."""
    sharing = Sharing(max_group, proven=proven)

    failures = stepped(sharing, room=room, steps=4000)

    assert failures <= 4 + (4000 // STEPS_TO_GROW).bit_length()


@given(max_group=SIZES, room=SIZES, proven=PROVEN)
def test_groups_grow_back_once_there_is_memory(max_group: int, room: int, proven: dict[ShapeKey, int] | None) -> None:
    """After a want of memory that has passed, in the end as many share as ever."""
    sharing = Sharing(max_group, proven=proven)
    ever = sharing.group_of(99, SHAPE)
    stepped(sharing, room=room, steps=1)

    stepped(sharing, room=max_group, steps=max_group * STEPS_TO_GROW * 16)

    assert sharing.group_of(99, SHAPE) == ever


@given(max_group=SIZES, proven=PROVEN, rooms=st.lists(SIZES, max_size=20))
def test_bounds_hold_whatever_memory_does(max_group: int, proven: dict[ShapeKey, int] | None, rooms: list[int]) -> None:
    """Groups have at least one sample, never more than they may, and in exact mode a size that was tried."""
    sharing = Sharing(max_group, proven=proven)
    ever = sharing.group_of(99, SHAPE)

    for room in rooms:
        stepped(sharing, room=room, steps=STEPS_TO_GROW)

        group = sharing.group_of(99, SHAPE)
        assert 1 <= group <= ever
        assert proven is None or group & (group - 1) == 0
