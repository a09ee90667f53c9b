"""How much of a device's memory requests may take."""

from __future__ import annotations

import pytest

from models.loading import free_bytes, resident_bytes_of
from models.plan import WORKING_BYTES


def test_nothing_bounds_requests_on_a_cpu() -> None:
    """A CPU's memory is not counted."""
    assert free_bytes("cpu") is None
    assert resident_bytes_of(None) is None


@pytest.mark.parametrize(("free", "left"), [(WORKING_BYTES + 7, 7), (WORKING_BYTES - 7, 0)])
def test_room_to_work_is_kept(free: int, left: int) -> None:
    """Requests get what is free beyond what a step and a decoding need, and never less than nothing."""
    assert resident_bytes_of(free) == left
