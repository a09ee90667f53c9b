"""A bad member of a group is lost alone: every good one ends to the last bit as it ends by itself."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from models.engine import Engine
from models.flux.components import FluxComponents
from models.flux.faults import device_faults
from models.flux.group import FluxSample
from models.pipeline import DeviceBroken, NotFinite, OutOfMemory
from models.request import GenerationRequest
from models.sample import Sample
from models.sharing import Sharing
from models.uno import UnoPipeline

#: Groups of each mode; tests/unit/models runs hundreds on a pipeline that costs nothing.
GROUPS = 12
GOOD = 3


class Spoiled(UnoPipeline):
    """Prepares what has the prompt ``nan`` or ``odd`` so that it cannot be stepped; encodes each request only once."""

    def __init__(self, parts: FluxComponents) -> None:
        super().__init__(parts)
        self._prepared: dict[GenerationRequest, list[Sample]] = {}

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Any]) -> list[Sample]:
        """Spoil what asks for it."""
        if request not in self._prepared:
            self._prepared[request] = super().prepare(request_id, request, images)
        samples = [replace(sample, request_id=request_id) for sample in self._prepared[request]]
        return [_spoil(sample, request.prompt) for sample in samples]


def _spoil(sample: Sample, prompt: str) -> Sample:
    assert isinstance(sample, FluxSample)
    spoil: dict[str, Callable[[Tensor], Tensor]] = {
        "nan": lambda tokens: tokens * float("nan"),
        "odd": lambda tokens: tokens[..., :-1],
    }
    return replace(sample, tokens=spoil[prompt](sample.tokens)) if prompt in spoil else sample


def _wish(seed: int, prompt: str = "a cat") -> GenerationRequest:
    return GenerationRequest(
        model="uno",
        prompt=prompt,
        references=(),
        width=16,
        height=16,
        num_inference_steps=1,
        guidance_scale=4,
        seed=seed,
    )


def _run(engine: Engine) -> tuple[dict[str, bytes], dict[str, Exception]]:
    """Step until idle; return the pixels of what finished, and what failed."""
    finished: dict[str, bytes] = {}
    failed: dict[str, Exception] = {}
    while not engine.is_idle:
        report = engine.step()
        finished |= {request_id: images[0].image.tobytes() for request_id, images in report.finished.items()}
        failed |= report.failed
    return finished, failed


@pytest.fixture
def pipeline(parts: FluxComponents) -> Spoiled:
    """Build UNO from the recorded parts."""
    return Spoiled(parts)


@pytest.fixture
def alone(pipeline: Spoiled) -> list[bytes]:
    """Return the pictures of the first seeds, each made in an engine of its own."""
    pictures = []
    for seed in range(GOOD):
        engine = Engine({"uno": pipeline})
        engine.admit("r", _wish(seed), [])
        pictures.append(_run(engine)[0]["r"])
    return pictures


@pytest.mark.parametrize("max_group", [1, GOOD + 1])
def test_every_good_member_succeeds(pipeline: Spoiled, alone: list[bytes], max_group: int) -> None:
    """One member of each group is bad, in one of two ways; in exact mode the others are bit-equal to running alone."""
    draw = random.Random(5)  # noqa: S311 -- a repeatable order, not a secret
    for _ in range(GROUPS):
        bad = draw.choice([("nan", NotFinite), ("odd", RuntimeError)])
        engine = Engine({"uno": pipeline}, sharing=Sharing(max_group))
        for name in draw.sample([*map(str, range(GOOD)), "bad"], GOOD + 1):
            engine.admit(name, _wish(0, bad[0]) if name == "bad" else _wish(int(name)), [])

        finished, failed = _run(engine)

        assert list(failed) == ["bad"]
        assert isinstance(failed["bad"], bad[1])
        assert finished.keys() == set(map(str, range(GOOD)))
        assert max_group > 1 or [finished[str(seed)] for seed in range(GOOD)] == alone


def test_samples_are_compared_by_their_latents(pipeline: Spoiled) -> None:
    """A sample differs from itself by 0, from another by the largest gap, and from one that is no number not by 0."""
    [one], [other] = (pipeline.prepare("r", _wish(seed), []) for seed in (0, 1))
    [spoiled] = pipeline.prepare("r", _wish(0, "nan"), [])
    assert isinstance(one, FluxSample)
    assert isinstance(other, FluxSample)

    differences = [pipeline.difference(one, each) for each in (one, other, spoiled)]

    assert differences[:2] == [0.0, float((one.tokens - other.tokens).abs().max())]
    assert differences[2] != 0


@pytest.fixture
def raised(parts: FluxComponents) -> Iterator[list[Exception]]:
    """Return a list; an exception that is put into it is raised by the next forward of the transformer."""
    waiting: list[Exception] = []

    def trip(*_: object) -> None:
        if waiting:
            raise waiting.pop()

    hook = parts.transformer.register_forward_pre_hook(trip)
    yield waiting
    hook.remove()


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (torch.OutOfMemoryError("no memory"), OutOfMemory),
        (torch.AcceleratorError("CUDA error: an illegal memory access"), DeviceBroken),
        (ValueError("something else"), ValueError),
    ],
)
def test_what_torch_raises_is_told_apart(
    pipeline: Spoiled, raised: list[Exception], error: Exception, meaning: type[Exception]
) -> None:
    """Memory, a lost device and all else come out as different errors, with what torch said of them."""
    samples = pipeline.prepare("r", _wish(1), [])
    raised.append(error)

    with pytest.raises(meaning, match=str(error)):
        pipeline.step(samples)


def test_all_is_let_go_before_memory_is_given_back() -> None:
    """When a call finds no memory, what it had made is gone by the time that torch is asked for what it keeps."""
    made: list[weakref.ref[Tensor]] = []

    def call() -> None:
        half_done = torch.zeros(8)
        made.append(weakref.ref(half_done))
        raise torch.OutOfMemoryError(f"no memory beside {half_done.numel()} numbers")

    left: list[Tensor | None] = []
    with pytest.raises(OutOfMemory), device_faults(lambda: left.append(made[0]())):
        call()

    assert left == [None]


def test_encodings_make_room_for_a_step(
    pipeline: Spoiled, parts: FluxComponents, alone: list[bytes], raised: list[Exception]
) -> None:
    """A step that finds no memory is tried again without the encodings that are kept for later, and ends as ever."""
    engine = Engine({"uno": pipeline})
    engine.admit("r", _wish(0), [])
    kept_bytes = parts.encodings.size_bytes
    raised.append(torch.OutOfMemoryError("no memory"))

    finished, failed = _run(engine)

    assert (finished, failed) == ({"r": alone[0]}, {})
    assert kept_bytes > parts.encodings.size_bytes == 0


def test_memory_that_is_back_makes_the_same_picture(
    pipeline: Spoiled, alone: list[bytes], raised: list[Exception]
) -> None:
    """When a group has no memory its halves step, and every member is finished."""
    engine = Engine({"uno": pipeline}, sharing=Sharing(2))
    for seed in range(2):
        engine.admit(str(seed), _wish(seed), [])
    raised.append(torch.OutOfMemoryError("no memory"))

    finished, failed = _run(engine)

    assert failed == {}
    assert [finished["0"], finished["1"]] == alone[:2]
