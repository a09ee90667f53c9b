"""Samples of FLUX, how a group of them becomes one transformer call, and how each takes its step.

Rows of a group may be at different steps of different schedules: nothing here is shared between them but the call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.flux.blocks import RotaryTable
from models.flux.transformer import TransformerInputs
from models.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.flux.conditioning import Conditioning


# Equality stays the parent's, which compares who a sample is and how far; tensors have no yes or no.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FluxSample(Sample):
    """A picture on its way, with everything its steps need."""

    #: (1, target tokens, channels): the packed latents at ``sigmas[steps_done]``; float32 on the device.
    tokens: Tensor
    #: Noise level before each step, and 0 after the last.
    sigmas: tuple[float, ...]
    #: What the transformer is told; one object for all pictures of the request.
    conditioning: Conditioning
    #: What it is told to stay away from; None without a negative prompt.
    negative: Conditioning | None = None
    #: How far; see ``models.request``.
    true_cfg_scale: float = 1.0
    #: Exact width of the result in pixels.
    width: int
    #: Exact height of the result in pixels.
    height: int
    #: What ``tokens`` would become if the last step had gone all the way; None before the first.
    estimate: Tensor | None = None


def collate(group: Sequence[FluxSample], *, dtype: torch.dtype) -> TransformerInputs:
    """Stack a group into one call.

    Where references are of unequal length, shorter ones are padded at the end and the padding is masked, since as a
    key it would be attended to.
    """
    device = group[0].tokens.device
    told = [sample.conditioning for sample in group]
    lengths = [each.rotary[0].shape[1] for each in told]
    return TransformerInputs(
        target=torch.cat([sample.tokens for sample in group]).to(dtype),
        references=_stack_references(told, missing=[max(lengths) - length for length in lengths]),
        text=_stack([each.text for each in told]),
        modulation=torch.stack([sample.conditioning.modulations[sample.steps_done] for sample in group]),
        rotary=_stack_rotary([each.rotary for each in told], tokens=max(lengths)),
        key_mask=_key_mask(lengths, device=device),
    )


def advance(sample: FluxSample, velocity: Tensor) -> FluxSample:
    """Take one Euler step; the difference of sigmas is taken in float32, as both are exactly float32.

    Args:
        sample: before the step.
        velocity: (1, target tokens, channels), as the transformer predicts it.

    Source: UNO, published sampling code, 2025; checked by tests/golden/uno_denoise_4step.safetensors.
    """
    before, after = sample.sigmas[sample.steps_done : sample.steps_done + 2]
    direction = velocity.to(torch.float32)
    tokens = sample.tokens + (after - before) * direction
    estimate = sample.tokens - before * direction
    return replace(sample, tokens=tokens, estimate=estimate, steps_done=sample.steps_done + 1)


def against(sample: FluxSample) -> FluxSample:
    """Return a sample that is told what it should stay away from; it has a negative prompt."""
    assert sample.negative is not None, "only samples with a negative prompt are steered"  # noqa: S101 -- ours
    return replace(sample, conditioning=sample.negative)


def steer(sample: FluxSample, positive: Tensor, negative: Tensor) -> Tensor:
    """Go on from where the negative prompt leads towards the prompt, and beyond it.

    Returns:
        negative + scale * (positive - negative), in float32 and of their shape.

    Source: classifier-free guidance (arXiv 2207.12598), in the form that diffusers' FLUX pipelines use.
    """
    away = negative.to(torch.float32)
    return away + sample.true_cfg_scale * (positive.to(torch.float32) - away)


def _stack_references(told: Sequence[Conditioning], *, missing: Sequence[int]) -> Tensor | None:
    rows = [_references(each) for each in told]
    stacked = _stack_padded(rows, tokens=rows[0].shape[1] + missing[0])
    return stacked if stacked.shape[1] else None


def _references(told: Conditioning) -> Tensor:
    """Return the reference tokens; none of them where there is no reference."""
    return told.text[:, :0] if told.references is None else told.references


def _stack_rotary(tables: Sequence[RotaryTable], *, tokens: int) -> RotaryTable:
    cos, sin = zip(*tables, strict=True)
    return _stack_padded(cos, tokens=tokens), _stack_padded(sin, tokens=tokens)


def _stack_padded(rows: Sequence[Tensor], *, tokens: int) -> Tensor:
    return _stack([pad(row, (0, 0, 0, tokens - row.shape[1])) if row.shape[1] < tokens else row for row in rows])


def _stack(rows: Sequence[Tensor]) -> Tensor:
    """Put rows under one another; the usual lone one is not copied."""
    return rows[0] if len(rows) == 1 else torch.cat(tuple(rows))


def _key_mask(lengths: Sequence[int], *, device: torch.device) -> Tensor | None:
    if len(set(lengths)) == 1:
        return None  # without a mask attention may use its fastest kernels
    places = torch.arange(max(lengths), device=device)
    return places < torch.tensor(lengths, device=device)[:, None]
