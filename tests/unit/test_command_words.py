"""How commands read and write money, lengths of time and names."""

from __future__ import annotations

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from deployments.commands.words import age, count, dollars, in_dollars, read_dollars, read_length, read_name, shown


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (12_500_000, "$12.50"),
        (39_323, "$0.039323"),
        (1_234_567_000_000, "$1,234,567.00"),
        (-50_000, "-$0.05"),
        (None, None),
    ],
)
def test_money_is_written_in_dollars(amount: int | None, text: str | None) -> None:
    """At least cents are written, and no digit is lost."""
    assert dollars(amount) == text


@given(st.integers(min_value=0, max_value=10**15))
def test_money_is_read_as_it_is_written(amount: int) -> None:
    """Whatever is shown, given back, is the same amount; as a number for scripts too."""
    assert read_dollars(str(dollars(amount)).replace(",", "")) == amount
    assert round((in_dollars(amount) or 0) * 1_000_000) == amount


@pytest.mark.parametrize("text", ["", "much", "-1", "nan", "inf", "1e99", "0.0000001", "1000000000.01", "\x1b[31m"])
def test_what_is_no_money_is_refused(text: str) -> None:
    """Amounts are finite, not negative, and whole millionths of a dollar."""
    with pytest.raises(typer.BadParameter, match="no amount of dollars"):
        read_dollars(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (119, "119 s"),
        (200, "3 m"),
        (7199, "119 m"),
        (7200, "2 h"),
        (48 * 3600, "2 d"),
        (1e9, "11574 d"),
        (None, None),
    ],
)
def test_times_are_written_as_ages(seconds: float | None, text: str | None) -> None:
    """The unit is one in which the number is small but not too coarse."""
    assert age(seconds) == text


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1.5h", 5400), ("7d", 604_800), ("0s", 0)])
def test_lengths_of_time_are_read(text: str, seconds: float) -> None:
    """A number and a unit are a length of time."""
    assert read_length(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7 d", "1w", "1e3s", "\N{ARABIC-INDIC DIGIT ONE}s"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    """A number without a unit may have been meant in any."""
    with pytest.raises(typer.BadParameter, match="no length of time"):
        read_length(text)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"),
        (7, "7"),
        ("[red] ä 🐈", "[red] ä 🐈"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb", r"a\nb"),
        ("\u202e", r"\u202e"),
        ("\ud800", r"\ud800"),
    ],
)
def test_nothing_shown_acts_on_the_terminal(cell: object, text: str) -> None:
    """Control characters of whatever kind are spelt out."""
    assert shown(cell) == text


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "a\nb"])
def test_what_can_be_no_name_is_refused(text: str) -> None:
    """A name that no database could be asked for is none."""
    with pytest.raises(typer.BadParameter, match="is no name"):
        read_name(text)


@pytest.mark.parametrize(("number", "text"), [(0, "0 tasks"), (1, "1 task"), (1200, "1,200 tasks")])
def test_things_are_counted(number: int, text: str) -> None:
    """One is one, everything else is many."""
    assert count(number, "task") == text
