"""A negative prompt steers a picture by the stated formula, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from torch import Tensor

from models.flux.group import FluxSample
from models.request import GenerationRequest
from models.sample import Sample
from models.uno import UnoPipeline

if TYPE_CHECKING:
    from golden.conftest import Differences

#: The formula is taken in float32, where sums of the same numbers in another order differ in their last bits.
ROUNDING = 1e-5


def _wish(prompt: str = "a cat", **changes: object) -> GenerationRequest:
    wish = GenerationRequest(
        model="uno", prompt=prompt, references=(), width=96, height=64, num_inference_steps=2, guidance_scale=4, seed=7
    )
    return replace(wish, **changes)  # type: ignore[arg-type]  # the caller names fields of the wish


def _tokens(samples: list[Sample]) -> list[Tensor]:
    return [sample.tokens for sample in samples if isinstance(sample, FluxSample)]


@pytest.mark.parametrize("scale", [1.0, 2.0, 7.5])
def test_a_step_goes_from_the_negative_prompt_towards_the_prompt(
    uno: UnoPipeline, difference: Differences, scale: float
) -> None:
    """A step's latents are the negative's plus the scale times what the prompt's differ from them."""
    [positive] = _tokens(uno.step(uno.prepare("r", _wish(), [])))
    [negative] = _tokens(uno.step(uno.prepare("r", _wish("fog"), [])))

    [steered] = _tokens(uno.step(uno.prepare("r", _wish(negative_prompt="fog", true_cfg_scale=scale), [])))

    difference("negative prompt", steered, negative + scale * (positive - negative), limit=ROUNDING * scale)
    assert scale == 1 or not steered.equal(positive)


def test_without_a_negative_prompt_the_scale_means_nothing(uno: UnoPipeline) -> None:
    """The same bytes come of any scale, and one row is taken."""
    plain, scaled = (uno.prepare("r", _wish(true_cfg_scale=scale), []) for scale in (1.0, 9.0))

    steps = [_tokens(uno.step(samples))[0] for samples in (plain, scaled)]

    assert steps[0].equal(steps[1])
    assert plain[0].shape.rows == 1


def test_it_steps_alone_as_it_does_between_others(uno: UnoPipeline) -> None:
    """One by one, samples with a negative prompt end the same to the last bit, whoever steps between their steps."""
    [alone] = uno.step(uno.step(uno.prepare("r", _wish(negative_prompt="fog"), [])))

    [first] = uno.step(uno.prepare("r", _wish(negative_prompt="fog"), []))
    uno.step(uno.prepare("s", _wish("a dog", negative_prompt="rain"), []))
    [between] = uno.step([first])

    assert _tokens([alone])[0].equal(_tokens([between])[0])


def test_company_with_and_without_one(uno: UnoPipeline, difference: Differences) -> None:
    """In one group, each sample is steered by its own negative prompt, or by none."""
    wishes = [_wish(negative_prompt="fog"), _wish("a dog"), _wish("a fox", negative_prompt="rain", true_cfg_scale=4)]
    samples = [uno.prepare("r", wish, [])[0] for wish in wishes]

    together = _tokens(uno.step(samples))

    for sample, tokens in zip(samples, together, strict=True):
        difference("negative prompts together", tokens, _tokens(uno.step([sample]))[0], limit=ROUNDING)


def test_two_rows_are_another_shape(uno: UnoPipeline) -> None:
    """Samples of one row and of two do not share a step, since one takes twice as long."""
    with_one, without = (uno.prepare("r", _wish(negative_prompt=text), [])[0] for text in ("fog", ""))

    assert (with_one.shape.rows, without.shape.rows) == (2, 1)
    assert with_one.shape != without.shape
