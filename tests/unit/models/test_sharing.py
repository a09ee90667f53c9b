"""How many samples share a call, by mode, and after there was no memory for them."""

from __future__ import annotations

import pytest

from models.sample import ShapeKey
from models.sharing import Sharing

SMALL = ShapeKey(model="uno", target_tokens=256, reference_tokens=0, styles=0)
LARGE = ShapeKey(model="uno", target_tokens=4096, reference_tokens=0, styles=0)


@pytest.mark.parametrize(("waiting", "group"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_all_share_where_nothing_has_to_be_proven(waiting: int, group: int) -> None:
    """Without anything to prove, as many share as wait, up to the bound."""
    sharing = Sharing(4)

    assert sharing.group_of(waiting, LARGE) == group


@pytest.mark.parametrize(("waiting", "group"), [(1, 1), (2, 2), (3, 2), (4, 4), (7, 4), (9, 4)])
def test_what_is_proven_shares_in_the_groups_that_were_tried(waiting: int, group: int) -> None:
    """In exact mode a group has a size that was tried, which are powers of two; three were never tried together."""
    sharing = Sharing(8, proven={SMALL: 4})

    assert sharing.group_of(waiting, SMALL) == group


def test_what_is_not_proven_steps_alone() -> None:
    """In exact mode a shape of which nothing is known steps alone, and so does one that was found to differ."""
    sharing = Sharing(4, proven={SMALL: 1})

    assert [sharing.group_of(4, shape) for shape in (SMALL, LARGE)] == [1, 1]


@pytest.mark.parametrize(("proven", "most"), [(None, 4), ({}, 1), ({SMALL: 2, LARGE: 1}, 2), ({SMALL: 8}, 4)])
def test_it_says_how_many_share_at_most(proven: dict[ShapeKey, int] | None, most: int) -> None:
    """The largest group of any shape is what was proven of one, within the bound."""
    assert Sharing(4, proven=proven).most == most


@pytest.mark.parametrize("proven", [None, {SMALL: 8, LARGE: 8}])
def test_a_group_without_memory_is_halved_for_its_shape_alone(proven: dict[ShapeKey, int] | None) -> None:
    """After a group of four found no memory two share, and of other shapes as many as ever."""
    sharing = Sharing(8, proven=proven)

    sharing.halve(SMALL, group=4)

    assert [sharing.group_of(8, shape) for shape in (SMALL, LARGE)] == [2, 8]
