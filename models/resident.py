"""A request while the engine holds it: what is still to be denoised, what to be decoded, and what has come of it.

Keeps the policy's view of itself up to date; decides nothing and touches no device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from models.cost import STYLE_TOKENS, TEXT_TOKENS, CostTable
from models.policy import Candidate, outlook_of
from models.request import GeneratedImage
from models.sample import Sample, ShapeKey

if TYPE_CHECKING:
    from models.pace import OwnPace

#: Pixels that a token of the picture stands for.
TOKEN_PIXELS = 16 * 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a request is to be treated among others."""

    #: What has a low rank steps before what has a higher one, from the next step on.
    rank: int = 0
    #: Whose it is; what one tenant asks for counts as asked one after the other.
    tenant: str = ""
    #: Seconds for which it has waited already.
    waited_s: float = 0.0
    #: A preview is made every so many steps of a picture; 0 makes none.
    preview_every: int = 0


Name = TypeVar("Name", bound=str)


class Stage(StrEnum):
    """What the device does for a request."""

    #: Its prompt and references are encoded, and its noise is drawn.
    PREPARING = "preparing"
    #: A sample of it takes a step, alone or with others.
    STEPPING = "stepping"
    #: A sample of it becomes a picture.
    DECODING = "decoding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """When the device did something, with whatever it did in between."""

    #: Seconds of it in all.
    seconds: float
    #: Its part of them, where they were spent on several at once.
    share_s: float
    #: When it first began, in seconds of the engine's clock.
    began_s: float
    #: When it last ended, on the same clock.
    ended_s: float


_NOTHING: Mapping[Stage, Stretch] = MappingProxyType({})


def longer(
    stretches: Mapping[Name, Stretch], name: Name, began_s: float, ended_s: float, *, share: float = 1.0
) -> dict[Name, Stretch]:
    """Add a piece of work to what was done for a request; ``share`` of it, where it was done for several at once."""
    before = stretches.get(name, Stretch(seconds=0.0, share_s=0.0, began_s=began_s, ended_s=began_s))
    after = Stretch(
        seconds=before.seconds + ended_s - began_s,
        share_s=before.share_s + share * (ended_s - began_s),
        began_s=before.began_s,
        ended_s=ended_s,
    )
    return {**stretches, name: after}


@dataclass(slots=True, kw_only=True)
class Resident:
    """A resident request."""

    #: How it is to be treated.
    standing: Standing
    #: When it was asked for, in seconds of the engine's clock.
    asked_s: float
    #: Since when it counts as waiting, in seconds of the engine's clock.
    counts_from_s: float
    #: Seconds of the device that it needs in all, as the cost table has it.
    table_s: float
    #: How its own steps compare with the table.
    pace: OwnPace
    #: Bytes that it keeps on the device.
    size_bytes: int
    #: Pictures that have steps to take, by their number.
    samples: dict[int, Sample]
    #: Pictures of which only decoding is left.
    denoised: dict[int, Sample] = field(default_factory=dict)
    #: Finished pictures.
    images: dict[int, GeneratedImage] = field(default_factory=dict)
    #: Steps taken so far over all pictures.
    steps_done: int = 0
    #: What the device did for it, and when.
    stretches: Mapping[Stage, Stretch] = field(default_factory=lambda: _NOTHING)
    #: The policy's view of it; None where no picture has steps to take.
    candidate: Candidate | None = None
    #: Whether it found no memory beside others, and waits until they have ended.
    wants_room: bool = False

    @property
    def is_over(self) -> bool:
        """Whether every picture is finished."""
        return not self.samples and not self.denoised

    @property
    def order(self) -> tuple[int, float]:
        """Say when it is its turn among those that wait for their decoding; low goes first."""
        return self.standing.rank, self.counts_from_s

    def take(self, sample: Sample) -> None:
        """Take a sample back after its step."""
        self.steps_done += 1
        if sample.is_denoised:
            del self.samples[sample.index]
            self.denoised[sample.index] = sample
        else:
            self.samples[sample.index] = sample

    def pay(self, began_s: float, ended_s: float, *, share: float, times: float | None) -> None:
        """Note a step in which it took part.

        Args:
            began_s: when the device began it, in seconds of the engine's clock.
            ended_s: when it had done it.
            share: its own part of those who stepped together.
            times: as how many times longer than in the cost table it counts, for all of them alike; None where somebody
                failed, so that it says nothing.
        """
        self.stretches = longer(self.stretches, Stage.STEPPING, began_s, ended_s, share=share)
        if times:  # by a clock that stood still, a step tells nothing either
            self.pace.learn(times)

    def judge(self, costs: CostTable, *, pace: float) -> None:
        """Tell the policy anew what is left.

        Args:
            costs: how long a step should take.
            pace: how many times longer steps take here; of its own, those that it has taken tell more.
        """
        first = next(iter(self.samples.values()), None)
        self.candidate = None if first is None else self._candidate(first, costs, factor=self.pace.factor(pace))

    def _candidate(self, first: Sample, costs: CostTable, *, factor: float) -> Candidate:
        left_ms = sum(
            sample.steps_left * costs.step(tokens_of(sample.shape), rows=sample.shape.rows)
            for sample in self.samples.values()
        )
        left_ms += sum(
            costs.decode(sample.shape.target_tokens * TOKEN_PIXELS)
            for sample in (*self.samples.values(), *self.denoised.values())
        )
        work_s = self.table_s * factor
        left_s = min(left_ms * factor / 1e3, work_s)
        return Candidate(
            request_id=first.request_id,
            samples=tuple(self.samples),
            shape=first.shape,
            rank=self.standing.rank,
            **outlook_of(self.counts_from_s, asked_s=self.asked_s, work_s=work_s, left_s=left_s),
        )


def tokens_of(shape: ShapeKey) -> int:
    """Return the length of one row's sequence."""
    return shape.target_tokens + shape.reference_tokens + shape.styles * STYLE_TOKENS + TEXT_TOKENS


def shared_part(shape: ShapeKey, costs: CostTable) -> float:
    """Return which part of a lone sample's step another one of its shape would not add, as a cost table has it."""
    tokens = tokens_of(shape)
    alone_ms, both_ms = (costs.step(tokens, rows=shape.rows * count) for count in (1, 2))
    return 2 - both_ms / alone_ms
