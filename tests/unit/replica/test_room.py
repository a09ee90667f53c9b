"""Whether a device has the memory for what may be asked of it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from deployments.replica.room import check_room
from deployments.settings import Settings
from models.plan import largest_bytes

MOST = largest_bytes(["uno", "uso"])


@pytest.mark.parametrize(
    ("request_gb", "free_bytes", "remedies"),
    [
        (None, 8_650_000_000, ["UXO_REQUEST_GB=8.6"]),
        (None, MOST - 1, [f"UXO_REQUEST_GB={MOST // 10**8 / 10:g}"]),
        (None, MOST, []),
        (None, None, []),
        (8.0, 8_650_000_000, []),
    ],
)
def test_what_would_fail_is_said_at_the_start(
    request_gb: float | None, free_bytes: int | None, remedies: list[str]
) -> None:
    """Where a request may be larger than the device and nothing keeps it out, the value that would is named, once."""
    settings = Settings(request_gb=request_gb)

    with capture_logs() as events:
        check_room(settings, free_bytes, ["uno", "uso"])

    assert [event["remedy"] for event in events] == remedies
