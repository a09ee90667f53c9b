"""A device on a virtual clock: it computes nothing, and says when it would have been done.

What it is asked to do takes what a cost table says, times how far the table is off for that very request; nobody else
is told how far. ``VirtualPipeline`` stands behind the real engine, and orders without an engine do the same work by
the same figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from loadtest.paced import samples_of
from loadtest.scheduler.arrivals import Arrival
from models.cost import TEXT_TOKENS, CostTable, target_tokens, tokens_of
from models.request import GeneratedImage, GenerationRequest
from models.sample import Sample, ShapeKey

_PICTURE = Image.new("RGB", (1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one request takes of the device alone, in seconds."""

    #: Prompt and references, once.
    encode_s: float
    #: One step of one picture.
    step_s: float
    #: Decoding one picture.
    decode_s: float
    #: Everything, one picture after the other.
    total_s: float


def work_of(arrival: Arrival, costs: CostTable) -> Work:
    """Return what a request really takes, which the cost table alone does not say."""
    request = arrival.request
    step_ms, decode_ms = costs.step(tokens_of(request)), costs.decode(request.width * request.height)
    total_ms = costs.request(request)
    pictures_ms = request.num_images * (request.num_inference_steps * step_ms + decode_ms)
    parts = (total_ms - pictures_ms, step_ms, decode_ms, total_ms)
    encode_s, step_s, decode_s, total_s = (part * arrival.error / 1e3 for part in parts)
    return Work(encode_s=encode_s, step_s=step_s, decode_s=decode_s, total_s=total_s)


def shape_of(request: GenerationRequest) -> ShapeKey:
    """Return what pictures of a request can step together with."""
    tokens, target = tokens_of(request), target_tokens(request)
    return ShapeKey(model=request.model, target_tokens=target, reference_tokens=tokens - target - TEXT_TOKENS, styles=0)


class VirtualDevice:
    """Tells the time, which goes on only while it works or waits.

    Attributes:
        now_s: seconds after the start.
        idle_s: those without work.
        spent_s: seconds of work by request; who steps together pays alike.
    """

    def __init__(self, costs: CostTable) -> None:
        self.costs = costs
        self.now_s = 0.0
        self.idle_s = 0.0
        self.spent_s: dict[int, float] = {}

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s

    def wait_until(self, at_s: float) -> None:
        """Let time go by without work; what has gone by already stays."""
        waited_s = max(at_s - self.now_s, 0.0)
        self.idle_s += waited_s
        self.now_s += waited_s

    def work(self, seconds: float, *, numbers: Sequence[int]) -> None:
        """Work for some requests."""
        self.now_s += seconds
        for number in numbers:
            self.spent_s[number] = self.spent_s.get(number, 0.0) + seconds / len(numbers)

    def step(self, arrivals: Sequence[Arrival]) -> None:
        """Take a step of a picture of each, all of one shape."""
        error = sum(each.error for each in arrivals) / len(arrivals)
        step_ms = self.costs.step(tokens_of(arrivals[0].request), rows=len(arrivals))
        self.work(step_ms * error / 1e3, numbers=[each.number for each in arrivals])


class VirtualPipeline:
    """The door between the real engine and a device that only tells the time; requests are named by their numbers."""

    def __init__(self, device: VirtualDevice) -> None:
        self._device = device
        self._arrivals: dict[str, Arrival] = {}

    def expect(self, arrival: Arrival) -> None:
        """Take note of what is about to be prepared."""
        self._arrivals[str(arrival.number)] = arrival

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:  # noqa: ARG002 -- of them only how many counts
        """Make a sample per picture, in the time that prompt and references take."""
        arrival = self._arrivals[request_id]
        self._device.work(work_of(arrival, self._device.costs).encode_s, numbers=[arrival.number])
        shape = shape_of(request)
        return samples_of(request_id, request, shape=shape)

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Take the time of a step, and count one for each."""
        self._device.step([self._arrivals[sample.request_id] for sample in group])
        return [replace(sample, steps_done=sample.steps_done + 1) for sample in group]

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Take the time of decoding, and return a dot for each."""
        for sample in samples:
            arrival = self._arrivals[sample.request_id]
            self._device.work(work_of(arrival, self._device.costs).decode_s, numbers=[arrival.number])
        return [GeneratedImage(seed=sample.seed, image=_PICTURE) for sample in samples]

    def preview(self, sample: Sample) -> Image.Image | None:
        """Show nothing."""
