"""What became of each order, noted while it happens. Pure; moments are seconds after the start of the load."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from loadtest.openloop.order import Order


class End(StrEnum):
    """What became of an order."""

    #: Its pictures are there.
    SUCCEEDED = "succeeded"
    #: It was accepted and failed.
    FAILED = "failed"
    #: It was accepted and taken back, by us.
    CANCELLED = "cancelled"
    #: It was good and not accepted.
    REFUSED = "refused"
    #: It was bad and not accepted, as it should be.
    REJECTED = "rejected"
    #: Nobody answered its submission, so it may have been accepted or not.
    UNANSWERED = "unanswered"
    #: It was accepted and had no end when patience was at an end.
    UNFINISHED = "unfinished"
    #: It was accepted, and then the server knew nothing of it.
    LOST = "lost"
    #: The load was stopped before.
    IN_FLIGHT = "in flight"


#: Ends that an order may have without anything being wrong, and those that a bad one may have: fal accepts whatever it
#: is sent and says afterwards what was wrong.
GOOD_ENDS = frozenset({End.SUCCEEDED, End.CANCELLED, End.IN_FLIGHT})
ENDS_OF_BAD = frozenset({End.REJECTED, End.FAILED, End.IN_FLIGHT})

#: Of how many successes the latencies are at hand while a load runs.
LATEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One order and what became of it."""

    #: The order.
    order: Order
    #: Seconds by which it was sent after it was due: the load generator's own fault.
    lateness_s: float = 0.0
    #: When its acceptance was known.
    accepted_s: float | None = None
    #: Its task, once it is accepted.
    task_id: str = ""
    #: When it was first seen to be worked on, or to have ended.
    started_s: float | None = None
    #: When its end was known.
    ended_s: float | None = None
    #: What became of it.
    end: End = End.IN_FLIGHT
    #: What went wrong, in words that can be counted.
    error: str = ""
    #: What the server said about that, in its own words.
    message: str = ""
    #: How many pictures it was seen to have; None where that was not said.
    pictures: int | None = None
    #: How often it was read.
    reads: int = 0

    @property
    def latency_s(self) -> float | None:
        """Return the seconds from its due time to its end."""
        return None if self.ended_s is None else self.ended_s - self.order.at_s

    @property
    def is_error(self) -> bool:
        """Whether it did not become what it should have; one that was bad must not succeed."""
        return self.end not in (ENDS_OF_BAD if self.order.is_bad else GOOD_ENDS)


class Book:
    """Every order that was sent, with what is known of it so far.

    Who looks while a load runs looks at the counts, which cost nothing: to go through all records twice a second would
    make the load late.
    """

    def __init__(self, orders: Sequence[Order]) -> None:
        self._orders = orders
        self._records: dict[int, Record] = {}
        self._is_closed = False
        #: How many orders stand where.
        self.ends: Counter[End] = Counter()
        #: Orders so far that did not become what they should have.
        self.errors = 0
        #: Seconds that the last ones took that succeeded.
        self.latest_s: deque[float] = deque(maxlen=LATEST)

    def __repr__(self) -> str:
        """Count them, for who reads this at night."""
        return f"<Book [{self.sent} of {len(self._orders)} sent | {self.ends[End.IN_FLIGHT]} in flight]>"

    def note(self, number: int, **changes: Any) -> Record:
        """Note something about an order; the first note says that it was sent."""
        known = self._records.get(number)
        if known is not None and not changes:
            return known
        noted = replace(known or Record(order=self._orders[number]), **changes)
        self._records[number] = noted
        if known is None or known.end is not noted.end:
            self._count(known, noted)
        return noted

    def _count(self, known: Record | None, noted: Record) -> None:
        if known is not None:
            self.ends[known.end] -= 1
            self.errors -= known.is_error
        self.ends[noted.end] += 1
        self.errors += noted.is_error
        if noted.end is End.SUCCEEDED and noted.latency_s is not None:
            self.latest_s.append(noted.latency_s)

    def close(self) -> None:
        """Say that no order is followed any more, and what comes is the reckoning."""
        self._is_closed = True

    @property
    def is_closed(self) -> bool:
        """Whether the load is over."""
        return self._is_closed

    @property
    def sent(self) -> int:
        """Count the orders that were sent."""
        return len(self._records)

    @property
    def records(self) -> list[Record]:
        """Return what became of all orders that were sent, in their order."""
        return [self._records[number] for number in sorted(self._records)]

    @property
    def not_sent(self) -> int:
        """Count the orders that never came to be sent."""
        return len(self._orders) - len(self._records)


def after(warm_up_s: float, records: Sequence[Record]) -> list[Record]:
    """Return those that were due when the warm-up was over."""
    return [record for record in records if record.order.at_s >= warm_up_s]
