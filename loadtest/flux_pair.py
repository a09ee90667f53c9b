"""Two transformers over the same random weights, ours and diffusers' own, and what both are told.

For benchmarks: diffusers' sees references as tokens behind the target's, which is how UNO's are given to it. Needs
torch and diffusers alone, so that it runs where little else is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from torch import Tensor

from models.flux.latents import reference_ids, target_ids, text_ids
from models.flux.sigmas import sigmas
from models.flux.transformer import TransformerInputs, UxoTransformer, rotary_table

#: Pixels of a token's side.
TOKEN_SIDE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A picture to be made; every tensor has a batch axis of 1."""

    #: (rows, columns) of the target, in tokens.
    grid: tuple[int, int]
    #: (rows, columns) of each reference, in tokens.
    references: tuple[tuple[int, int], ...]
    #: Target tokens, at noise.
    target: Tensor
    #: Tokens of all references.
    clean: Tensor | None
    #: Features of the prompt's tokens.
    text: Tensor
    #: The prompt as a whole.
    pooled: Tensor
    #: Noise levels before each step, and 0 after the last.
    levels: tuple[float, ...]

    @property
    def tokens(self) -> int:
        """Return the length of the sequence."""
        of_references = 0 if self.clean is None else self.clean.shape[1]
        return self.text.shape[1] + self.target.shape[1] + of_references

    def ids(self) -> Tensor:
        """Return (target and reference tokens, 3) positions."""
        return torch.cat([target_ids(*self.grid), *reference_ids(self.grid, self.references)])


def pair(
    config: Mapping[str, Any], *, device: str, dtype: torch.dtype
) -> tuple[FluxTransformer2DModel, UxoTransformer]:
    """Make both transformers; they share every weight, and a weight drawn for one is drawn on the device."""
    with torch.device("meta"):
        stock, ours = FluxTransformer2DModel(**config), UxoTransformer(**config)
    weights = _draw(stock, device=device, dtype=dtype)
    for network in (stock, ours):
        network.load_state_dict(weights, assign=True)
        network.eval().requires_grad_(requires_grad=False)
    return stock, ours


def again(ours: UxoTransformer) -> UxoTransformer:
    """Return another of ours over the same weights, to be fused and compiled by itself."""
    with torch.device("meta"):
        other: UxoTransformer = UxoTransformer(**dict(ours.config))
    other.load_state_dict(ours.state_dict(), assign=True)
    return other.eval().requires_grad_(requires_grad=False)  # type: ignore[no-any-return]  # diffusers ships no types


def _draw(network: FluxTransformer2DModel, *, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    weights = {}
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            weights[name] = torch.full(parameter.shape, float("norm_" in name), device=device, dtype=dtype)
        else:
            drawn = torch.empty(parameter.shape, device=device, dtype=dtype)
            weights[name] = drawn.normal_(std=parameter.shape[1] ** -0.5, generator=generator)
    return weights


def draw_case(
    ours: UxoTransformer, grid: tuple[int, int], references: Sequence[tuple[int, int]], *, text_tokens: int, steps: int
) -> Case:
    """Draw what a picture begins with, on the device and in the dtype of a transformer."""
    config, like = ours.config, ours.x_embedder.weight
    generator = torch.Generator(like.device).manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=generator, device=like.device, dtype=like.dtype)

    clean_tokens = sum(rows * columns for rows, columns in references)
    return Case(
        grid=grid,
        references=tuple(references),
        target=normal(grid[0] * grid[1], config.in_channels),
        clean=normal(clean_tokens, config.in_channels) if references else None,
        text=normal(text_tokens, config.joint_attention_dim),
        pooled=normal(config.pooled_projection_dim),
        levels=sigmas(width=grid[1] * TOKEN_SIDE, height=grid[0] * TOKEN_SIDE, steps=steps),
    )


class Stock:
    """Diffusers' transformer, told everything at every step, as its own pipelines do.

    Args:
        network: whose steps are taken.
        case: what it is told.
    """

    def __init__(self, network: FluxTransformer2DModel, case: Case) -> None:
        self._network = network
        self._case = case
        like = case.target
        self._ids = case.ids().to(like.device, like.dtype)
        self._text_ids = text_ids(case.text.shape[1]).to(like.device, like.dtype)
        self._guidance = torch.full((1,), 4.0, device=like.device, dtype=like.dtype)

    def velocity(self, target: Tensor, step: int) -> Tensor:
        """Predict the velocity of the target tokens."""
        case = self._case
        joined = target if case.clean is None else torch.cat((target, case.clean), dim=1)
        [predicted] = self._network(
            hidden_states=joined,
            timestep=torch.full((1,), case.levels[step], device=target.device, dtype=target.dtype),
            guidance=self._guidance,
            pooled_projections=case.pooled,
            encoder_hidden_states=case.text,
            txt_ids=self._text_ids,
            img_ids=self._ids,
            return_dict=False,
        )
        velocity: Tensor = predicted[:, : target.shape[1]]
        return velocity


class Ours:
    """Our transformer, told once what stays the same.

    Args:
        network: whose steps are taken.
        case: what it is told.
    """

    def __init__(self, network: UxoTransformer, case: Case) -> None:
        self._network = network
        like = case.target
        sigma = torch.tensor(case.levels[:-1], device=like.device)
        pooled = case.pooled.expand(len(sigma), -1)
        self._modulations = network.modulations(sigma, torch.full_like(sigma, 4.0), pooled)
        self._text = network.embed_text(case.text, None)
        self._references = None if case.clean is None else network.embed_references(case.clean)
        ids = torch.cat([text_ids(case.text.shape[1]), case.ids()])
        cos, sin = rotary_table(ids[None], network.config.axes_dims_rope)
        self._rotary = cos.to(like.device), sin.to(like.device)

    def velocity(self, target: Tensor, step: int) -> Tensor:
        """Predict the velocity of the target tokens, of as many pictures as there are rows, all told the same."""
        rows = target.shape[0]
        inputs = TransformerInputs(
            target=target,
            references=None if self._references is None else self._references.expand(rows, -1, -1),
            text=self._text.expand(rows, -1, -1),
            modulation=self._modulations[step : step + 1].expand(rows, -1),
            rotary=self._rotary,
        )
        velocity: Tensor = self._network(inputs)
        return velocity
