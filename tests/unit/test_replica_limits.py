"""When a replica gives up what."""

from __future__ import annotations

import pytest

from deployments.replica_limits import Limits


@pytest.mark.parametrize(("usual_s", "given_up_s"), [(0.0, 30.0), (0.1, 30.0), (3.0, 30.0), (6.0, 60.0)])
def test_a_step_has_ten_times_its_usual_time_and_half_a_minute_at_least(usual_s: float, given_up_s: float) -> None:
    """Whichever is longer counts, so that neither a slow device nor a first step is taken for a hung one."""
    limits = Limits(capacity=1, lease_s=20)

    assert limits.given_up_s(usual_s) == given_up_s
