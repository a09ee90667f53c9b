"""What is found out about sharing a call before any work comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from solid_pipeline import SolidPipeline, SolidSample

from models.options import UnusableChoice
from models.pipeline import DeviceBroken, OutOfMemory
from models.rehearsal import SIZES, rehearse, warm_up
from models.sample import Sample


class RoundingPipeline(SolidPipeline):
    """Rounds differently in groups beyond a size, and has no memory for others."""

    def __init__(self, *, rounds_from: int = 99, full_from: int = 99, broken_from: int = 99) -> None:
        super().__init__()
        self._rounds_from, self._full_from, self._broken_from = rounds_from, full_from, broken_from

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Step, and leave a trace in the last of a group that is large enough."""
        if len(group) >= self._broken_from:
            raise DeviceBroken
        if len(group) >= self._full_from:
            raise OutOfMemory
        *rest, last = super().step(group)
        return [*rest, _Rounded.of(last) if len(group) >= self._rounds_from else last]

    def difference(self, one: Sample, other: Sample) -> float:
        """See the trace."""
        return 0.25 * (isinstance(one, _Rounded) - isinstance(other, _Rounded))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rounded(SolidSample):
    """A sample that was stepped in a large group."""

    @staticmethod
    def of(sample: Sample) -> _Rounded:
        assert isinstance(sample, SolidSample)
        return _Rounded(**{name: getattr(sample, name) for name in SolidSample.__dataclass_fields__})


@pytest.mark.parametrize(
    ("pipeline", "proven", "difference"),
    [
        (RoundingPipeline(), 8, 0.0),
        (RoundingPipeline(rounds_from=4), 2, 0.25),
        (RoundingPipeline(rounds_from=2), 1, 0.25),
        (RoundingPipeline(full_from=4), 2, 0.0),
    ],
)
def test_only_what_leaves_no_trace_is_proven(pipeline: RoundingPipeline, proven: int, difference: float) -> None:
    """Every rehearsed shape shares in the largest group up to which no sample differs, the last of it neither."""
    found = rehearse({"uno": pipeline, "uso": pipeline}, max_group=9)

    assert set(found.proven.values()) == {proven}
    assert len(found.proven) == 2 * len(SIZES) * 2
    assert found.largest_difference == difference


def test_a_lost_device_is_no_finding() -> None:
    """A device that is lost on the way is reported as that."""
    with pytest.raises(DeviceBroken):
        rehearse({"uno": RoundingPipeline(broken_from=2)}, max_group=4)


def test_nothing_is_stepped_where_nothing_is_shared() -> None:
    """With one sample to a call there is nothing to find out."""
    pipeline = SolidPipeline()

    found = rehearse({"uno": pipeline}, max_group=1)

    assert found.proven == {}
    assert pipeline.groups == []


def test_an_operator_may_name_what_is_warmed() -> None:
    """Pictures of the sizes that are named are stepped, with no and with one reference, and said to be."""
    pipeline = RoundingPipeline()

    warmed = warm_up({"uno": pipeline}, sizes=[(640, 384)])

    assert [(shape.target_tokens, shape.reference_tokens) for shape in warmed] == [(640 * 384, 0), (640 * 384, 1)]
    assert [len(group) for group in pipeline.groups] == [1, 1]


def test_warming_up_steps_every_shape_alone() -> None:
    """Every rehearsed shape of every model is stepped once by itself; one without room for it does not matter."""
    pipelines = {"uno": RoundingPipeline(), "uso": RoundingPipeline(full_from=1)}

    warm_up(pipelines)

    assert [len(group) for group in pipelines["uno"].groups] == [1] * len(SIZES) * 2


class UncompiledPipeline(SolidPipeline):
    """Has blocks that nothing can compile."""

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Look for a compiler, in vain."""
        raise RuntimeError("no compiler for so many as", len(group))


def test_blocks_that_cannot_be_compiled_stop_the_start() -> None:
    """What a compiler says is told with the name of the choice, and a lost device as what it is."""
    with pytest.raises(UnusableChoice, match=r"UXO_COMPILE_BLOCKS=true find a C compiler.*no compiler for so many"):
        warm_up({"uno": UncompiledPipeline()})
    with pytest.raises(DeviceBroken):
        warm_up({"uno": RoundingPipeline(broken_from=1)})
