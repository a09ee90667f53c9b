"""How much of a device's memory requests may take."""

from __future__ import annotations

import pytest

from models.flux.memory import request_bytes_of
from models.loading import request_bytes
from models.plan import WORKING_BYTES


def test_nothing_bounds_requests_on_a_cpu() -> None:
    """A CPU's memory is not counted."""
    assert request_bytes("cpu") is None


@pytest.mark.parametrize(("free_bytes", "left"), [(WORKING_BYTES + 7, 7), (WORKING_BYTES - 7, 0)])
def test_room_to_work_is_kept(free_bytes: int, left: int) -> None:
    """Requests get what is free beyond what a step and a decoding need, and never less than nothing."""
    assert request_bytes_of(free_bytes) == left
