"""From when to when: what ``--since`` and ``--until`` say, as moments. Pure; is told what time it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"(?P<count>\d+(?:\.\d+)?)(?P<unit>[smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class UnreadableSpan(ValueError):
    """The words name no moment, or nothing lies between them; the message says which in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of time, its end not within; None means that it has no end on that side."""

    #: From when.
    since: datetime | None = None
    #: Until when.
    until: datetime | None = None

    def named(self) -> dict[str, str]:
        """Return the ends that there are, written out."""
        ends = {"since": self.since, "until": self.until}
        return {name: end.isoformat() for name, end in ends.items() if end is not None}


def parse_span(since: str, until: str, *, now: datetime) -> Span:
    """Read both ends; what is empty is open.

    Args:
        since: an ISO time, in UTC where it names no zone; or how long ago, such as ``24h``, ``90m`` or ``7d``.
        until: the same.
        now: from which is counted back.

    Raises:
        UnreadableSpan: when one names no moment, or the end is not after the start.
    """
    span = Span(since=_moment("--since", since, now=now), until=_moment("--until", until, now=now))
    if span.since and span.until and span.until <= span.since:
        raise UnreadableSpan(f"--until {until} is not after --since {since}")
    return span


def _moment(option: str, text: str, *, now: datetime) -> datetime | None:
    if not text:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - timedelta(seconds=float(ago["count"]) * _UNIT_S[ago["unit"]])
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        example = "2026-11-20, 2026-11-20T08:00:00+01:00, or how long ago: 24h, 90m, 7d"
        raise UnreadableSpan(f"{option} {text}: no moment; write one like {example}") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
