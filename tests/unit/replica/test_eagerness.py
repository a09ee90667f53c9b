"""How soon idle replicas ask: one alone at once, many one after the other, and nobody later than a bound."""

from __future__ import annotations

from statistics import fmean

from deployments.replica.eagerness import MOST_S, STEP_S, Eagerness


def after(times: int, *, seed: str = "r1") -> Eagerness:
    """Return one that has asked so many times in vain."""
    asked = Eagerness(seed)
    for _ in range(times):
        asked.note(was_in_vain=True)
    return asked


def test_who_was_not_in_vain_asks_at_once() -> None:
    """At first, and after work was found or nothing changed, there is no pause."""
    found = after(1000)
    found.note(was_in_vain=False)

    assert (after(0).pause_s(), found.pause_s()) == (0.0, 0.0)


def test_nobody_waits_longer_than_the_bound() -> None:
    """However often it was in vain, it asks within the bound."""
    pauses = [after(100_000, seed=str(number)).pause_s() for number in range(500)]

    assert 0 <= min(pauses) <= max(pauses) <= MOST_S
    assert MOST_S * 0.4 < fmean(pauses) < MOST_S * 0.6


def test_of_many_one_asks_soon() -> None:
    """Each of many idle ones has been in vain as often as there are others; the first of them asks in a few steps."""
    for many in (2, 10, 50, 300):
        first = min(after(many, seed=str(number)).pause_s() for number in range(many))
        assert first < 5 * STEP_S


def test_no_two_ask_together() -> None:
    """Replicas of different names draw different pauses."""
    pauses = {after(100, seed=str(number)).pause_s() for number in range(50)}

    assert len(pauses) == 50
