"""The book of a load: what can be asked of it while the load runs agrees with what it has in the end."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from loadtest.openloop.order import Order
from loadtest.openloop.record import LATEST, Book, End, Record
from loadtest.openloop.telling import progress_line


class Thick(Book):
    """A book that nobody may go through."""

    @property
    def records(self) -> list[Record]:
        """Refuse to be read."""
        raise AssertionError("a load that runs has no time for that")


def test_counts_agree_with_the_records() -> None:
    """Whatever is noted in whatever order, the counts are those of the records."""
    draw = random.Random(7)  # noqa: S311 -- a test, not a secret
    book = Book([Order(at_s=number, tenant="a", is_bad=number % 5 == 0) for number in range(50)])

    for _ in range(2000):
        changes: list[dict[str, Any]] = [{}, {"reads": 3}, {"end": draw.choice(list(End))}]
        book.note(draw.randrange(40), **draw.choice(changes))

    assert book.sent == len(book.records) == 40
    assert +book.ends == Counter(record.end for record in book.records)
    assert book.errors == sum(record.is_error for record in book.records)


def test_progress_is_told_without_reading_the_book() -> None:
    """The line has counts and the latest latencies, and costs as much after a day as after a second."""
    book = Thick([Order(at_s=0, tenant="a")] * 500)
    for number in range(400):
        book.note(number, end=End.SUCCEEDED, ended_s=100.0 if number < LATEST else 2.0)
    book.note(400)
    book.note(401, end=End.REFUSED)

    line = progress_line(book, 61.7, 500)

    assert line == ("62 s: 402 of 500 sent, 1 in flight, 400 ok, 1 errors; the last 200 took p50 2 s, p95 2 s")
    assert repr(book) == "<Book [402 of 500 sent | 1 in flight]>"
