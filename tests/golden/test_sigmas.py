"""The noise schedule against the authors' own, in both conventions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.flux.sigmas import ShiftLength, shift_length, sigmas


def test_schedule(difference: Any, golden_json: Callable[[str], Any]) -> None:
    """Every recorded size and step count has the recorded levels, to the last bit."""
    for case in golden_json("schedule"):
        size = {"width": case["width"], "height": case["height"]}

        authors = sigmas(**size, steps=case["steps"])
        by_tokens = sigmas(**size, steps=case["steps"], length=ShiftLength.TOKENS)

        difference("sigmas", _levels(authors), _levels(case["timesteps"]))
        difference("sigmas by tokens", _levels(by_tokens), _levels(case["timesteps_token_count"]))


def _levels(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_length_of_the_shift(golden_json: Callable[[str], Any]) -> None:
    """Both conventions measure every recorded size as recorded."""
    cases = golden_json("schedule")

    authors = [shift_length(width=case["width"], height=case["height"]) for case in cases]
    tokens = [shift_length(width=case["width"], height=case["height"], length=ShiftLength.TOKENS) for case in cases]

    assert authors == [case["seq_len_argument"] for case in cases]
    assert tokens == [case["token_count"] for case in cases]


def test_no_steps() -> None:
    """A picture needs a step."""
    with pytest.raises(ValueError, match="at least 1"):
        sigmas(width=512, height=512, steps=0)
