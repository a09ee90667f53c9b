"""What time it is; everything else is told the time as ``now``. Durations use ``time.monotonic``."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present moment, aware and in UTC."""
    return datetime.now(UTC)  # noqa: TID251 -- the one place that asks
