"""The FLUX transformer with what UNO and USO add: references in the image stream, style tokens in front of the text.

    attention sees   [style][text][target][reference 1][reference 2]...[padding]
                      └─ text stream ─┘└──────────── image stream ────────────┘

    once a request   embed_text, embed_references, modulations          every step   forward

The layers are diffusers' own, the arithmetic between them is ours: every row of a batch brings its own modulation and
positions, so rows of strangers at different steps share one call. Knows no pictures, no prompts and no schedule.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from models.flux.blocks import Joint, RotaryTable, double_block, last_block, modulate, single_block

#: Base of the rotary frequencies. Source: FLUX.1 reference code, model parameters of every FLUX.1 variant.
ROTARY_BASE = 10000


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerInputs:
    """What one call needs; every tensor has one row per sample and lies on the transformer's device."""

    #: (batch, target tokens, channels), noisy.
    target: Tensor
    #: (batch, reference tokens, hidden width), embedded: the references of a row in sequence, padded at the end; or
    #: None.
    references: Tensor | None
    #: (batch, style and text tokens, hidden width), embedded.
    text: Tensor
    #: (batch, width of all modulations): the row of ``UxoTransformer.modulations`` that belongs to this step.
    modulation: Tensor
    #: Positions of style, text, target and reference tokens, in this order.
    rotary: RotaryTable
    #: (batch, all tokens), False where a token is padding; None when nothing is padded, which is faster.
    key_mask: Tensor | None = None


class UxoTransformer(FluxTransformer2DModel):  # type: ignore[misc]  # diffusers ships no types
    """FLUX.1 that takes references, styles and a batch of unlike rows."""

    # The signature is the parent's: diffusers reads it to save and to rebuild the configuration.
    @functools.wraps(FluxTransformer2DModel.__init__)  # type: ignore[misc]  # as above
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.time_text_embed.time_proj = Sinusoid()
        #: What computes attention, by diffusers' name; None leaves it to torch.
        self.attention_backend: str | None = None
        #: Sequences are filled up to multiples of this many tokens; 1 fills nothing.
        self.token_bucket = 1
        self.run_double: Callable[..., tuple[Tensor, Tensor]] = double_block
        self.run_single: Callable[..., Tensor] = single_block
        self.run_last: Callable[..., Tensor] = last_block

    def embed_text(self, text: Tensor, styles: Tensor | None) -> Tensor:
        """Bring (batch, tokens, text width) to the hidden width, behind styles that have it already."""
        embedded: Tensor = self.context_embedder(text)
        return embedded if styles is None else torch.cat((styles, embedded), dim=1)

    def embed_references(self, references: Tensor) -> Tensor:
        """Bring (batch, tokens, channels) to the hidden width."""
        return self.x_embedder(references)  # type: ignore[no-any-return]  # diffusers ships no types

    def modulations(self, sigma: Tensor, guidance: Tensor, pooled: Tensor) -> Tensor:
        """Compute what every norm of every block is told, for many steps in one product.

        Args:
            sigma: (steps,) noise levels in [0, 1].
            guidance: (steps,) plain guidance; ignored by a transformer without guidance embedding.
            pooled: (steps, pooled width), whose dtype is computed in.

        Returns:
            (steps, 12 widths per double block, 3 per single block, 2 for the output).
        """
        conditions = silu(self._condition(sigma, guidance, pooled))
        return torch.cat([linear(conditions) for linear in self._modulators()], dim=-1)

    def forward(self, inputs: TransformerInputs) -> Tensor:
        """Predict the velocity of the target tokens.

        Returns:
            (batch, target tokens, channels) in the transformer's dtype.
        """
        joint, fill = self._joint(inputs)
        text, image = inputs.text, pad(self._image(inputs), (0, 0, 0, fill))
        widths = [linear.out_features for linear in self._modulators()]
        told = iter(torch.split(inputs.modulation, widths, dim=-1))
        for block in self.transformer_blocks:
            of_image, of_text = next(told), next(told)
            text, image = self.run_double(block, (text, image), (of_text, of_image), joint)
        joined = torch.cat((text, image), dim=1)
        for block in self.single_transformer_blocks[:-1]:
            joined = self.run_single(block, joined, next(told), joint)
        first = text.shape[1]
        read = first, first + inputs.target.shape[1]
        target = self._last(joined, told, joint, read=read)
        scale, shift = next(told).unsqueeze(1).chunk(2, dim=-1)
        return self.proj_out(modulate(self.norm_out.norm(target), shift, scale))  # type: ignore[no-any-return]  # as above

    def _joint(self, inputs: TransformerInputs) -> tuple[Joint, int]:
        """Return what all attentions share, and the number of tokens that fill the bucket."""
        tokens = inputs.rotary[0].shape[-2]
        fill = -tokens % self.token_bucket
        cos, sin = (pad(half, (0, 0, 0, fill)) if fill else half for half in inputs.rotary)
        return Joint(rotary=(cos, sin), key_mask=inputs.key_mask, backend=self.attention_backend, keys=tokens), fill

    def _image(self, inputs: TransformerInputs) -> Tensor:
        target: Tensor = self.x_embedder(inputs.target)
        return target if inputs.references is None else torch.cat((target, inputs.references), dim=1)

    def _last(self, joined: Tensor, told: Iterator[Tensor], joint: Joint, *, read: tuple[int, int]) -> Tensor:
        if not self.single_transformer_blocks:
            return joined[:, read[0] : read[1]]
        return self.run_last(self.single_transformer_blocks[-1], joined, next(told), joint, read=read)

    def _modulators(self) -> list[nn.Linear]:
        """List the layers that turn a condition into modulations, in the order of the blocks."""
        doubles = [norm.linear for block in self.transformer_blocks for norm in (block.norm1, block.norm1_context)]
        return [*doubles, *(block.norm.linear for block in self.single_transformer_blocks), self.norm_out.linear]

    def _condition(self, sigma: Tensor, guidance: Tensor, pooled: Tensor) -> Tensor:
        # In bfloat16 this rounds sigma before the factor, as the authors' code does; above 0.5 the embedded time is
        # then a multiple of 4. The published pictures were made so.
        time = sigma.to(pooled.dtype) * 1000
        if not self.config.guidance_embeds:
            return self.time_text_embed(time, pooled)  # type: ignore[no-any-return]  # as above
        scaled = guidance.to(pooled.dtype) * 1000
        return self.time_text_embed(time, scaled, pooled)  # type: ignore[no-any-return]  # as above


class Sinusoid(nn.Module):
    """The 256-wide embedding of a number: cosines, then sines.

    Replaces diffusers' own, whose float32 exponential rounds differently from one processor to the next: an error of
    one unit in a frequency, times an angle of up to a thousand, reaches the picture.
    Source: FLUX.1 reference code, timestep_embedding; checked by tests/golden/embeddings.safetensors.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Embed (batch,) values that already carry the factor 1000; the result is float32."""
        angles = values.to(torch.float32)[:, None] * self.frequencies(values.device)
        return torch.cat((angles.cos(), angles.sin()), dim=-1)

    def frequencies(self, device: torch.device) -> Tensor:
        """Compute the 128 frequencies: float32 exponents as in the source, correctly rounded exponentials."""
        exponents = -math.log(10000) * torch.arange(128, dtype=torch.float32, device=device) / 128
        return exponents.to(torch.float64).exp().to(torch.float32)


def rotary_table(ids: Tensor, axes: Sequence[int]) -> RotaryTable:
    """Compute the rotation of every token, angles in float64, stored as float32.

    Args:
        ids: (..., tokens, 3) positions (constant, row, column), integers or float32; bfloat16 is exact only to 256.
        axes: how many of the head's dimensions each of the three turns; all even.

    Source: FLUX.1 reference code, rope; checked by tests/golden/embeddings.safetensors.
    """
    angles = torch.cat([_angles(ids[..., axis], width) for axis, width in enumerate(axes)], dim=-1)
    return angles.cos().to(torch.float32), angles.sin().to(torch.float32)


def _angles(positions: Tensor, width: int) -> Tensor:
    exponents = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device) / width
    return positions.to(torch.float64)[..., None] * (1.0 / ROTARY_BASE**exponents)
