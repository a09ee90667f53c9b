"""When a replica gives up what."""

from __future__ import annotations

import pytest

from deployments.replica.limits import Limits


@pytest.mark.parametrize(("usual_s", "given_up_s"), [(0.0, 30.0), (0.1, 30.0), (3.0, 30.0), (6.0, 60.0)])
def test_a_step_has_ten_times_its_usual_time_and_half_a_minute_at_least(usual_s: float, given_up_s: float) -> None:
    """Whichever is longer counts, so that neither a slow device nor a first step is taken for a hung one."""
    limits = Limits(capacity=1, lease_s=20)

    assert limits.given_up_s(usual_s) == given_up_s


@pytest.mark.parametrize(("usual_s", "doubt_s"), [(0.0, 10.0), (2.0, 10.0), (4.0, 20.0), (40.0, 200.0)])
def test_a_step_that_is_known_to_be_long_keeps_its_lease(usual_s: float, doubt_s: float) -> None:
    """It is beaten for until half the time is over after which it is given up, and never less than half a lease."""
    limits = Limits(capacity=1, lease_s=20)

    assert limits.doubt_s(usual_s) == doubt_s
