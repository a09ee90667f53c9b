"""The FLUX transformer with what UNO and USO add: references in the image stream, style tokens in front of the text.

    attention sees   [style][text][target][reference 1][reference 2]...[padding]
                      └─ text stream ─┘└──────────── image stream ────────────┘

The blocks are diffusers' own. Only the outer forward and the attention processor are ours: every row of a batch
brings its own noise level, guidance and positions, so rows of strangers at different steps share one call. Knows
no pictures, no prompts and no schedule.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from torch import Tensor, nn

#: Cosines and sines, each (batch, tokens, head width / 2) in float32; the batch axis may be absent in a single table.
RotaryTable: TypeAlias = tuple[Tensor, Tensor]

#: Base of the rotary frequencies. Source: FLUX.1 reference code, model parameters of every FLUX.1 variant.
ROTARY_BASE = 10000


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerInputs:
    """What one call needs; every tensor has one row per sample and lies on the transformer's device."""

    #: (batch, target tokens, channels), noisy.
    target: Tensor
    #: (batch, reference tokens, channels), clean: the references of a row in sequence, padded at the end; or None.
    references: Tensor | None
    #: (batch, text tokens, text width) as the text encoder gave them.
    text: Tensor
    #: (batch, style tokens, hidden width), already as wide as the transformer; or None.
    styles: Tensor | None
    #: (batch, pooled width).
    pooled: Tensor
    #: (batch,) noise level in [0, 1].
    sigma: Tensor
    #: (batch,) plain guidance; ignored by a transformer without guidance embedding.
    guidance: Tensor
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
        self.set_attn_processor(UxoAttnProcessor())
        self.time_text_embed.time_proj = Sinusoid()

    def forward(self, inputs: TransformerInputs) -> Tensor:
        """Predict the velocity of the target tokens.

        Returns:
            (batch, target tokens, channels) in the transformer's dtype.
        """
        vec = self._condition(inputs)
        text, image = self._embed_text(inputs), self._embed_image(inputs)
        attention = {} if inputs.key_mask is None else {"attention_mask": inputs.key_mask}
        for block in (*self.transformer_blocks, *self.single_transformer_blocks):
            text, image = block(
                hidden_states=image,
                encoder_hidden_states=text,
                temb=vec,
                image_rotary_emb=inputs.rotary,
                joint_attention_kwargs=attention,
            )
        target = image[:, : inputs.target.shape[1]]
        return self.proj_out(self.norm_out(target, vec))  # type: ignore[no-any-return]  # diffusers ships no types

    def _condition(self, inputs: TransformerInputs) -> Tensor:
        # In bfloat16 this rounds sigma before the factor, as the authors' code does; above 0.5 the embedded time is
        # then a multiple of 4. The published pictures were made so.
        dtype = inputs.text.dtype
        time = inputs.sigma.to(dtype) * 1000
        if not self.config.guidance_embeds:
            return self.time_text_embed(time, inputs.pooled)  # type: ignore[no-any-return]  # as above
        guidance = inputs.guidance.to(dtype) * 1000
        return self.time_text_embed(time, guidance, inputs.pooled)  # type: ignore[no-any-return]  # as above

    def _embed_text(self, inputs: TransformerInputs) -> Tensor:
        text: Tensor = self.context_embedder(inputs.text)
        return text if inputs.styles is None else torch.cat((inputs.styles, text), dim=1)

    def _embed_image(self, inputs: TransformerInputs) -> Tensor:
        target, references = inputs.target, inputs.references
        image = target if references is None else torch.cat((target, references), dim=1)
        return self.x_embedder(image)  # type: ignore[no-any-return]  # as above


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


class UxoAttnProcessor:
    """Attention over the joint sequence, with positions per row and an optional key mask."""

    # diffusers sets these two by name: set_attention_backend, enable_parallelism.
    _attention_backend: Any = None
    _parallel_config: Any = None

    # Parameter names are the ones diffusers' attention module passes by keyword.
    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: RotaryTable | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend; a double block passes both streams, a single block the joined one.

        Returns:
            The image stream and the text stream, both projected; or the joined stream, unprojected.
        """
        query, key, value = _project_image(attn, hidden_states)
        if encoder_hidden_states is not None:
            streams = zip(_project_text(attn, encoder_hidden_states), (query, key, value), strict=True)
            query, key, value = (torch.cat(pair, dim=1) for pair in streams)
        if image_rotary_emb is not None:
            query, key = rotate(query, image_rotary_emb), rotate(key, image_rotary_emb)
        backend, parallel = self._attention_backend, self._parallel_config
        joined: Tensor = dispatch_attention_fn(
            query, key, value, attn_mask=attention_mask, backend=backend, parallel_config=parallel
        )
        joined = joined.flatten(2).to(query.dtype)
        if encoder_hidden_states is None:
            return joined
        text_tokens = encoder_hidden_states.shape[1]
        text, image = joined[:, :text_tokens].contiguous(), joined[:, text_tokens:].contiguous()
        return attn.to_out[0](image), attn.to_add_out(text)


def _project_image(attn: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (_heads(attn, layer(hidden)) for layer in (attn.to_q, attn.to_k, attn.to_v))
    return attn.norm_q(query), attn.norm_k(key), value


def _project_text(attn: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    layers = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
    query, key, value = (_heads(attn, layer(hidden)) for layer in layers)
    return attn.norm_added_q(query), attn.norm_added_k(key), value


def _heads(attn: Any, projected: Tensor) -> Tensor:
    return torch.unflatten(projected, -1, (-1, attn.head_dim))


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


def rotate(tokens: Tensor, table: RotaryTable) -> Tensor:
    """Turn neighbouring pairs of a head's dimensions, in float32, and cast back.

    Args:
        tokens: (batch, tokens, heads, head width).
        table: with or without a batch axis.
    """
    cos, sin = (half.unsqueeze(-2) for half in table)
    real, imaginary = torch.unflatten(tokens.to(torch.float32), -1, (-1, 2)).unbind(-1)
    turned = torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)
    return turned.flatten(-2).to(tokens.dtype)
