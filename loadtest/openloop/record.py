"""What became of each order, noted while it happens. Pure; moments are seconds after the start of the load."""

from __future__ import annotations

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
    """Every order that was sent, with what is known of it so far."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self._orders = orders
        self._records: dict[int, Record] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        """Count them, for who reads this at night."""
        open_ones = sum(each.end is End.IN_FLIGHT for each in self._records.values())
        return f"<Book [{len(self._records)} of {len(self._orders)} sent | {open_ones} in flight]>"

    def note(self, number: int, **changes: Any) -> Record:
        """Note something about an order; the first note says that it was sent."""
        known = self._records.get(number) or Record(order=self._orders[number])
        self._records[number] = replace(known, **changes)
        return self._records[number]

    def close(self) -> None:
        """Say that no order is followed any more, and what comes is the reckoning."""
        self._is_closed = True

    @property
    def is_closed(self) -> bool:
        """Whether the load is over."""
        return self._is_closed

    @property
    def records(self) -> list[Record]:
        """Return what became of all orders that were sent, in their order."""
        return [self._records[number] for number in sorted(self._records)]

    @property
    def not_sent(self) -> int:
        """Count the orders that never came to be sent."""
        return len(self._orders) - len(self._records)
