"""What a replica that holds tasks leaves to others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from deployments.replica.eagerness import POLITE_S
from deployments.replica.holding import Held, Load
from deployments.tasks.claim import ANY_RANK, NO_RESTRAINT
from deployments.tasks.task import Claim, Task
from models.request import GenerationRequest


@pytest.fixture
def held(make_task: Callable[..., Task], make_request: Callable[..., GenerationRequest]) -> Held:
    """Return Alice's third task of many, of which no step was taken yet."""
    request = make_request(num_inference_steps=10)
    claim = Claim(task=make_task(steps_total=10), request=request, rank=2, yields=True)
    return Held(claim=claim, since_s=0.0)


def test_who_is_idle_leaves_nothing(held: Held) -> None:
    """With nothing in hand, or nothing left to step, everything is taken, however new."""
    held.steps_done = 10

    for idle in (Load(held=[], step_s=0.1, ahead_s=0.25), Load(held=[held], step_s=0.1, ahead_s=0.25)):
        assert idle.restraint is NO_RESTRAINT


def test_who_is_busy_leaves_what_is_new_to_who_is_idle(held: Held) -> None:
    """What came just now is started at once by an idle replica; of the rest, only what may overtake is taken."""
    restraint = Load(held=[held], step_s=0.1, ahead_s=0.25).restraint

    assert (restraint.waited_s, restraint.below_rank, set(restraint.not_of)) == (POLITE_S, 1, {"alice"})


def test_who_is_nearly_done_takes_any_rank(held: Held) -> None:
    """Little is left to step, so there is room for whatever is next; what is new is left all the same."""
    held.steps_done = 9

    restraint = Load(held=[held], step_s=0.1, ahead_s=0.25).restraint

    assert restraint == replace(NO_RESTRAINT, below_rank=ANY_RANK, not_of=(), waited_s=POLITE_S)
