"""The arithmetic of FLUX's blocks over diffusers' own layers, with what does not change inside a step left outside.

    double block   two streams with layers of their own, one attention     single block   one stream, one attention

Modulations come ready made, since those of all steps are one product (see ``models.flux.transformer``); of the last
block only the rows that are read are computed. Plain functions of layers and tensors, so that they can be compiled.
What a layer has just made and nobody else holds is written over by what comes of it: memory that was touched a moment
ago is faster than fresh one, and there is less of it to find. What a block was given it leaves as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor
from torch.nn.functional import rms_norm

#: Cosines and sines, each (batch, tokens, head width / 2) in float32; the batch axis may be absent in a single table.
RotaryTable: TypeAlias = tuple[Tensor, Tensor]


class Joint(NamedTuple):
    """What every attention of a call has in common."""

    #: Positions of all tokens, in the order of the joint sequence.
    rotary: RotaryTable
    #: (batch, all tokens), False where a token is padding; None when nothing is padded, which is faster.
    key_mask: Tensor | None
    #: What computes attention, by diffusers' name; None leaves it to torch.
    backend: str | None
    #: Tokens that are attended to; what stands behind them only fills a bucket.
    keys: int


def double_block(
    block: Any, streams: tuple[Tensor, Tensor], modulations: tuple[Tensor, Tensor], joint: Joint
) -> tuple[Tensor, Tensor]:
    """Run a block with two streams.

    Args:
        block: diffusers' layers.
        streams: text and image, each (batch, tokens, width).
        modulations: of text and image, each (batch, 6 * width).
        joint: see there.

    Returns:
        Text and image.
    """
    text, image = streams
    attention = block.attn
    of_text, of_image = (each.unsqueeze(1).chunk(6, dim=-1) for each in modulations)
    heads = zip(
        _text_heads(attention, modulate(block.norm1_context.norm(text), of_text[0], of_text[1])),
        _image_heads(attention, modulate(block.norm1.norm(image), of_image[0], of_image[1])),
        strict=True,
    )
    query, key, value = (torch.cat(pair, dim=1) for pair in heads)
    attended = attend(query, key, value, joint)
    text_tokens = text.shape[1]
    text = add(text, of_text[2], attention.to_add_out(attended[:, :text_tokens]))
    image = add(image, of_image[2], attention.to_out[0](attended[:, text_tokens:]))
    text = add(text, of_text[5], feed(block.ff_context, modulate(block.norm2_context(text), *of_text[3:5])))
    image = add(image, of_image[5], feed(block.ff, modulate(block.norm2(image), *of_image[3:5])))
    return text, image


def single_block(block: Any, tokens: Tensor, modulation: Tensor, joint: Joint) -> Tensor:
    """Run a block with one stream.

    Args:
        block: diffusers' layers.
        tokens: (batch, tokens, width).
        modulation: (batch, 3 * width).
        joint: see there.
    """
    shift, scale, gate = modulation.unsqueeze(1).chunk(3, dim=-1)
    together = _project_single(block, modulate(block.norm.norm(tokens), shift, scale))
    attended = attend(*_heads(block.attn, *together[..., : 3 * tokens.shape[-1]].chunk(3, dim=-1)), joint)
    rows = _side_by_side(attended, together)
    # Flat, since torch multiplies rows that lie apart in one product, with their bias, only where they have one axis.
    return add(tokens, gate, block.proj_out(rows.flatten(0, 1)).view_as(tokens))


def last_block(block: Any, tokens: Tensor, modulation: Tensor, joint: Joint, *, read: tuple[int, int]) -> Tensor:
    """Run a single block whose other rows nobody reads; they are still attended to.

    Args:
        block: diffusers' layers.
        tokens: (batch, tokens, width).
        modulation: (batch, 3 * width).
        joint: see there.
        read: first row that is read, and the one behind the last.

    Returns:
        (batch, rows that are read, width).
    """
    first, end = read
    shift, scale, gate = modulation.unsqueeze(1).chunk(3, dim=-1)
    hidden = modulate(block.norm.norm(tokens), shift, scale)
    rows, attention = hidden[:, first:end], block.attn
    heads = _heads(attention, attention.to_q(rows), attention.to_k(hidden), attention.to_v(hidden))
    attended = attend(*heads, joint, first=first)
    wide = activate(block.proj_mlp(rows))
    return add(tokens[:, first:end], gate, block.proj_out(torch.cat((attended, wide), dim=2)))


def modulate(normed: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return (1 + scale) * normed + shift, rounded once, in the place of ``normed``."""
    return torch.addcmul(shift, normed, 1 + scale, out=normed)


def add(tokens: Tensor, gate: Tensor, update: Tensor) -> Tensor:
    """Return tokens + gate * update, rounded once, in the place of ``update``."""
    return torch.addcmul(tokens, gate, update, out=update)


def feed(layers: Any, hidden: Tensor) -> Tensor:
    """Apply the MLP of a stream, which is diffusers' without what it does in training."""
    widen, _, narrow = layers.net
    fed: Tensor = narrow(activate(widen.proj(hidden)))
    return fed


def activate(wide: Tensor) -> Tensor:
    """Apply FLUX's activation, GELU by tanh, in place."""
    activated: Tensor = torch.ops.aten.gelu_(wide, approximate="tanh")
    return activated


def attend(query: Tensor, key: Tensor, value: Tensor, joint: Joint, *, first: int = 0) -> Tensor:
    """Turn queries and keys by their positions and attend.

    Args:
        query: (batch, rows, heads, head width).
        key: (batch, tokens, heads, head width).
        value: as ``key``.
        joint: see there.
        first: position of the first query in the sequence.

    Returns:
        (batch, rows, heads * head width).
    """
    cos, sin = joint.rotary
    rows = slice(first, first + query.shape[1])
    attended: Tensor = dispatch_attention_fn(
        rotate(query, (cos[..., rows, :], sin[..., rows, :])),
        rotate(key, joint.rotary)[:, : joint.keys],
        value[:, : joint.keys],
        attn_mask=joint.key_mask,
        backend=joint.backend,
    )
    return attended.flatten(2).to(query.dtype)


def rotate(tokens: Tensor, table: RotaryTable) -> Tensor:
    """Turn neighbouring pairs of a head's dimensions, in float32, and cast back.

    Args:
        tokens: (batch, tokens, heads, head width).
        table: with or without a batch axis.
    """
    cos, sin = (half.unsqueeze(-2) for half in table)
    pairs = torch.unflatten(tokens.to(torch.float32), -1, (-1, 2))
    if not torch.compiler.is_compiling():
        # One pass instead of seven, and the same bits; a compiler fuses the seven, and knows no complex numbers.
        turned = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * torch.complex(cos, sin))
        return turned.flatten(-2).to(tokens.dtype)
    real, imaginary = pairs.unbind(-1)
    turned = torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)
    return turned.flatten(-2).to(tokens.dtype)


def _image_heads(attention: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    projected = _project(attention, hidden, fused="to_qkv", layers=("to_q", "to_k", "to_v"))
    return _heads(attention, *projected)


def _text_heads(attention: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    layers = ("add_q_proj", "add_k_proj", "add_v_proj")
    projected = _project(attention, hidden, fused="to_added_qkv", layers=layers)
    query, key, value = (_split_heads(attention, each) for each in projected)
    return _normed(query, attention.norm_added_q), _normed(key, attention.norm_added_k), value


def _project(attention: Any, hidden: Tensor, *, fused: str, layers: tuple[str, str, str]) -> tuple[Tensor, ...]:
    """Apply three layers, or the one that they were fused to; see ``models.flux.fusing``."""
    if hasattr(attention, fused):
        together: Tensor = getattr(attention, fused)(hidden)
        return together.chunk(3, dim=-1)
    return tuple(getattr(attention, layer)(hidden) for layer in layers)


def _project_single(block: Any, hidden: Tensor) -> Tensor:
    """Make queries, keys, values and the MLP's half, side by side: (batch, tokens, 7 widths)."""
    if hasattr(block, "to_qkv_mlp"):
        together: Tensor = block.to_qkv_mlp(hidden)
        return together
    attention = block.attn
    layers = (attention.to_q, attention.to_k, attention.to_v, block.proj_mlp)
    return torch.cat([layer(hidden) for layer in layers], dim=-1)


def _side_by_side(attended: Tensor, together: Tensor) -> Tensor:
    """Put what was attended to before the MLP's half, activated: (batch, tokens, 5 widths)."""
    width = attended.shape[-1]
    if torch.compiler.is_compiling():  # a compiler makes one pass of this
        return torch.cat((attended, activate(together[..., 3 * width :])), dim=-1)
    # Nobody reads the values any more, and the MLP's half lies behind them.
    rows = together[..., 2 * width :]
    rows[..., :width] = attended
    activate(rows[..., width:])
    return rows


def _heads(attention: Any, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (_split_heads(attention, each) for each in (query, key, value))
    return _normed(query, attention.norm_q), _normed(key, attention.norm_k), value


def _split_heads(attention: Any, projected: Tensor) -> Tensor:
    return torch.unflatten(projected, -1, (-1, attention.head_dim))


def _normed(heads: Tensor, norm: Any) -> Tensor:
    return rms_norm(heads, heads.shape[-1:], norm.weight, norm.eps)
