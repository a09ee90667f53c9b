"""Samples that join and leave groups at any step become what they become alone."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.flux.group import FluxSample, collate
from models.flux.pipeline import FluxPipeline
from models.request import GenerationRequest, Reference, Role
from models.sample import Sample
from models.uno import UnoPipeline
from models.uso import UsoPipeline

if TYPE_CHECKING:
    from golden.conftest import Differences

#: Kernels sum in another order at another batch size; a row that took a neighbour's sigma would be off by 0.1.
TOGETHER_LIMIT = 1e-5

#: From all samples that have steps to take, choose the ones that take the next.
Choose = Callable[[Sequence[Sample]], Sequence[Sample]]


def _strip(seed: int, *, height: int = 3) -> Image.Image:
    """Paint a long thin picture, so that a reference is few tokens."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, 40, 3), dtype=np.uint8))


def _request(
    number: int, *, model: str, roles: Sequence[Role], size: tuple[int, int] = (96, 64), num_images: int = 1
) -> GenerationRequest:
    """Wish for something that has another prompt, seed, step count and guidance for every number."""
    return GenerationRequest(
        model=model,
        prompt=f"wish {number}",
        references=tuple(Reference(role=role, source="painted") for role in roles),
        width=size[0],
        height=size[1],
        num_images=num_images,
        num_inference_steps=2 + number,
        guidance_scale=1.0 + number,
        seed=100 * number,
    )


def _uno_samples(pipeline: UnoPipeline) -> list[Sample]:
    """Prepare five pictures of one shape out of four requests, one of them upright where the others lie."""
    samples: list[Sample] = []
    for number, size in enumerate([(96, 64), (96, 64), (64, 96), (96, 64)]):
        request = _request(number, model="uno", roles=[Role.SUBJECT], size=size, num_images=1 + (number == 1))
        samples += pipeline.prepare(f"request {number}", request, [_strip(number)])
    assert len({sample.shape for sample in samples}) == 1
    return samples


def _uso_samples(pipeline: UsoPipeline) -> list[Sample]:
    """Prepare three pictures with a content and a style picture of their own."""
    samples: list[Sample] = []
    for number in range(3):
        request = _request(number, model="uso", roles=[Role.CONTENT, Role.STYLE])
        samples += pipeline.prepare(f"request {number}", request, [_strip(number), _strip(50 + number)])
    assert len({sample.shape for sample in samples}) == 1
    return samples


def _finish(pipeline: FluxPipeline, samples: Iterable[Sample], choose: Choose) -> dict[tuple[str, int], Tensor]:
    """Step until nothing is left to step; return the last tokens of each sample."""
    resident = {(sample.request_id, sample.index): sample for sample in samples}
    while unfinished := [sample for sample in resident.values() if not sample.is_denoised]:
        for sample in pipeline.step(choose(unfinished)):
            resident[sample.request_id, sample.index] = sample
    return {key: _tokens(sample) for key, sample in resident.items()}


def _tokens(sample: Sample) -> Tensor:
    assert isinstance(sample, FluxSample)
    return sample.tokens


def _first(unfinished: Sequence[Sample]) -> Sequence[Sample]:
    return unfinished[:1]


def _some(seed: int) -> Choose:
    """Choose up to three at random, in random order, so that samples join and leave at any step."""
    draw = random.Random(seed)  # noqa: S311 -- a repeatable order, not a secret
    return lambda unfinished: draw.sample(unfinished, min(len(unfinished), draw.randint(1, 3)))


def _one(seed: int) -> Choose:
    draw = random.Random(seed)  # noqa: S311 -- as above
    return lambda unfinished: [draw.choice(unfinished)]


@pytest.mark.parametrize("seed", range(3))
def test_uno_in_changing_company(uno: UnoPipeline, difference: Differences, seed: int) -> None:
    """UNO samples in groups that change at every step end where they end alone."""
    samples = _uno_samples(uno)
    alone = _finish(uno, samples, _first)

    together = _finish(uno, samples, _some(seed))

    for key, tokens in alone.items():
        difference("UNO in changing company", together[key], tokens, limit=TOGETHER_LIMIT)


@pytest.mark.parametrize("seed", range(2))
def test_uso_in_changing_company(uso: UsoPipeline, difference: Differences, seed: int) -> None:
    """USO samples, each with a style of its own, do too."""
    samples = _uso_samples(uso)
    alone = _finish(uso, samples, _first)

    together = _finish(uso, samples, _some(seed))

    for key, tokens in alone.items():
        difference("USO in changing company", together[key], tokens, limit=TOGETHER_LIMIT)


@pytest.mark.parametrize("seed", range(2))
def test_one_at_a_time_in_any_order(uno: UnoPipeline, difference: Differences, seed: int) -> None:
    """Stepped one by one, samples end the same to the last bit whatever the order."""
    samples = _uno_samples(uno)
    alone = _finish(uno, samples, _first)

    shuffled = _finish(uno, samples, _one(seed))

    for key, tokens in alone.items():
        difference("one at a time in any order", shuffled[key], tokens)


def test_unequal_references(uno: UnoPipeline, difference: Differences) -> None:
    """Samples with references of unequal length, and one without, share a step when it is asked of them."""
    wishes = [(0, []), (1, [_strip(1)]), (2, [_strip(2, height=7)]), (3, [_strip(3), _strip(4)])]
    samples = [
        sample
        for number, images in wishes
        for sample in uno.prepare(
            f"request {number}", _request(number, model="uno", roles=[Role.SUBJECT] * len(images)), images
        )
    ]
    assert len({sample.shape.reference_tokens for sample in samples}) == 4

    together = uno.step(samples)

    for sample, stepped in zip(samples, together, strict=True):
        [alone] = uno.step([sample])
        difference("unequal references", _tokens(stepped), _tokens(alone), limit=TOGETHER_LIMIT)


def test_equal_lengths_go_unmasked(uno: UnoPipeline) -> None:
    """Where nothing is padded there is no mask, since a mask keeps attention from its fastest kernels."""
    samples = [sample for sample in _uno_samples(uno) if isinstance(sample, FluxSample)]

    inputs = collate(samples, dtype=torch.float32)

    assert inputs.key_mask is None


def test_a_step_leaves_what_it_was_given(uno: UnoPipeline) -> None:
    """The given samples keep their tokens and their step, so a step can be taken again."""
    samples = _uno_samples(uno)
    before = [_tokens(sample).clone() for sample in samples]

    stepped = uno.step(samples)

    assert all(_tokens(sample).equal(tokens) for sample, tokens in zip(samples, before, strict=True))
    assert {sample.steps_done for sample in samples} == {0}
    assert {sample.steps_done for sample in stepped} == {1}


def test_a_group_that_fails_changes_nothing(uno: UnoPipeline) -> None:
    """After a group failed for one sample's sake, its neighbour steps as if nothing had been."""
    sound, victim, *_ = _uno_samples(uno)
    [expected] = uno.step([sound])
    assert isinstance(victim, FluxSample)
    poisoned = dataclasses.replace(victim, tokens=victim.tokens[..., :-1])

    with pytest.raises(RuntimeError):
        uno.step([sound, poisoned])

    [stepped] = uno.step([sound])
    assert _tokens(stepped).equal(_tokens(expected))
