"""A resident request knows what is left of it, from what its own steps have taken."""

from __future__ import annotations

import pytest

from models.cost import cost_table
from models.pace import OwnPace
from models.policy import Candidate
from models.resident import Resident, Stage, Standing
from models.sample import Sample, ShapeKey

SHAPE = ShapeKey(model="uno", target_tokens=1024, reference_tokens=0, styles=0)


def resident(name: str) -> Resident:
    """Return a request with a picture of ten steps."""
    sample = Sample(request_id=name, index=0, seed=1, shape=SHAPE, num_inference_steps=10)
    return Resident(
        standing=Standing(),
        asked_s=0.0,
        counts_from_s=0.0,
        table_s=10.0,
        pace=OwnPace(),
        size_bytes=0,
        samples={0: sample},
    )


def told(held: Resident) -> Candidate:
    """Return what the policy is told, where steps take as long here as the table says."""
    held.judge(cost_table(), pace=1.0)
    assert held.candidate is not None
    return held.candidate


def test_its_steps_tell_of_it_alone() -> None:
    """What takes twice as long as the table says has more left, and may wait for longer; its likes are as they were."""
    slow, other = resident("slow"), resident("other")
    before_s = told(slow).left_s

    for _ in range(8):
        slow.pay(0.0, 1.0, share=1.0, times=2.0)

    assert told(slow).left_s == pytest.approx(1.8 * before_s)
    assert told(other).left_s == before_s
    assert told(slow).begin_by_s > told(other).begin_by_s + 20.0


def test_a_step_that_failed_for_somebody_is_paid_for_and_tells_nothing() -> None:
    """Its time is the request's, by its share of the group; what is left is judged as before."""
    held = resident("a")
    before_s = told(held).left_s

    held.pay(5.0, 9.0, share=0.25, times=None)

    assert held.stretches[Stage.STEPPING].share_s == 1.0
    assert told(held).left_s == before_s
