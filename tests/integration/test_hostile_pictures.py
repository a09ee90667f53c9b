"""Hostile pictures against the real processes: the benchmark's own throw, shorter; nothing may come of it."""

from __future__ import annotations

import pytest

from deployments.decoding.pool import DecoderPool
from loadtest.hostile_files import hostile_files, mutated
from loadtest.hostile_pictures import HANDS, is_right, throw

#: Files that take seconds by design; the benchmark throws them.
SLOW = {"JPEG with a thousand scans"}


async def test_damaged_files_harm_nobody() -> None:
    """Every one is decoded or refused, sound pictures in between come out right, and no process is lost."""
    async with DecoderPool(processes=HANDS) as pool:
        findings = await throw(pool, mutated(600, seed=11))

    assert findings.wrong == []
    assert sum(findings.outcomes.values()) == 600
    assert findings.sound == 6
    assert 0 < findings.outcomes["decoded"] < 600
    assert pool.lost == 0


async def test_files_made_to_harm_do_not() -> None:
    """Bombs, giants, strips and lies are refused, what is merely odd is decoded, and no process is lost."""
    async with DecoderPool(processes=HANDS) as pool:
        findings = await throw(pool, [file for file in hostile_files() if file.name not in SLOW])

    assert findings.wrong == []
    assert pool.lost == 0


@pytest.mark.parametrize(
    ("outcome", "must", "is_so"),
    [
        ("decoded", "either", True),
        ("is broken", "either", True),
        ("decoded", "decode", True),
        ("is broken", "decode", False),
        ("decoded", "refuse", False),
        ("is broken", "refuse", True),
        ("error KeyError()", "refuse", False),
        ("error KeyError()", "either", False),
    ],
)
def test_outcomes_are_judged(outcome: str, must: str, *, is_so: bool) -> None:
    """An error is never right, and a file that has to be refused is not right when it is decoded."""
    assert is_right(outcome, must) == is_so


def test_mutations_are_the_same_for_a_seed() -> None:
    """A finding can be found again."""
    one, again, other = ([file.content for file in mutated(50, seed=seed)] for seed in (1, 1, 2))

    assert one == again
    assert one != other
