"""The reckoning: what is lost, doubled or changed is found, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.openloop.ledger import reckon
from loadtest.openloop.order import Order
from loadtest.openloop.record import End, Record
from loadtest.openloop.speech import Seen, State


def record(task_id: str, end: End, **changes: Any) -> Record:
    """Make a record of an order that was due at once."""
    return Record(order=Order(at_s=0, tenant="a"), task_id=task_id, end=end, **changes)


def test_tasks_with_one_end_are_sound() -> None:
    """Succeeded, failed and cancelled tasks that are found so again break no promise."""
    records = [record("1", End.SUCCEEDED), record("2", End.FAILED), record("3", End.CANCELLED)]
    again = {"1": Seen(state=State.SUCCEEDED), "2": Seen(state=State.FAILED), "3": Seen(state=State.GONE)}

    ledger = reckon(records, again=again, told={"1": {"succeeded"}})

    assert ledger.is_sound
    assert str(ledger) == "sound: 3 accepted, 3 ended once, 0 in flight"


@pytest.mark.parametrize(
    ("end", "state", "kind"),
    [
        (End.SUCCEEDED, State.GONE, "lost"),
        (End.LOST, State.GONE, "lost"),
        (End.IN_FLIGHT, State.GONE, "lost"),
        (End.SUCCEEDED, State.FAILED, "changed"),
        (End.FAILED, State.WORKING, "changed"),
        (End.CANCELLED, State.SUCCEEDED, "changed"),
        (End.UNFINISHED, State.WAITING, "unfinished"),
    ],
)
def test_a_broken_promise_is_named(end: End, state: State, kind: str) -> None:
    """A task that the second reading finds otherwise stands in the ledger with its id."""
    ledger = reckon([record("1", end)], again={"1": Seen(state=state)})

    assert not ledger.is_sound
    assert list(getattr(ledger, kind)) == ["1"]
    assert f"1 {kind}" in str(ledger)


def test_one_task_for_two_orders_is_doubled() -> None:
    """Two orders that were given the same task share a picture, and one of them a bill."""
    again = {"1": Seen(state=State.SUCCEEDED)}

    ledger = reckon([record("1", End.SUCCEEDED)] * 2, again=again)

    assert list(ledger.doubled) == ["1"]


def test_two_ends_told_of_are_a_change() -> None:
    """Webhooks that tell of a success and of a failure cannot both be true."""
    again = {"1": Seen(state=State.SUCCEEDED)}

    ledger = reckon([record("1", End.SUCCEEDED)], again=again, told={"1": {"succeeded", "failed"}})

    assert list(ledger.changed) == ["1"]


@pytest.mark.parametrize(
    ("first", "again", "is_broken"),
    [(2, 2, False), (1, 2, True), (2, 0, False), (None, 1, True), (None, None, False), (3, 3, False)],
)
def test_a_success_has_all_its_pictures(first: int | None, again: int | None, *, is_broken: bool) -> None:
    """Whoever asked for two and was shown one was not given what a success promises; links may end later."""
    order = Order(at_s=0, tenant="a", images=2)
    seen = Seen(state=State.SUCCEEDED, pictures=again)

    ledger = reckon([Record(order=order, task_id="1", end=End.SUCCEEDED, pictures=first)], again={"1": seen})

    assert list(ledger.incomplete) == ["1"] * is_broken
    assert ledger.is_broken == is_broken
    assert (str(ledger) == "broken: 1 accepted, 1 incomplete") == is_broken


def test_what_was_not_accepted_breaks_nothing() -> None:
    """A refusal leaves no task; a task that was stopped on its way is counted, not condemned."""
    records = [record("", End.REFUSED), record("", End.UNANSWERED), record("1", End.IN_FLIGHT)]

    ledger = reckon(records, again={"1": None})

    assert ledger.is_sound
    assert (ledger.accepted, ledger.in_flight, ledger.unanswered, list(ledger.unchecked)) == (1, 1, 1, [])


def test_what_could_not_be_read_again_is_not_called_sound() -> None:
    """That a success is still there is a promise too, and nobody saw it kept."""
    ledger = reckon([record("1", End.SUCCEEDED)], again={"1": None})

    assert (ledger.is_sound, ledger.is_broken) == (False, False)
    assert str(ledger) == "unproven: 1 accepted, 1 unchecked"
