"""Layers that read the same input put together to one, so that a device multiplies one large matrix instead of several.

Done once, after LoRAs are merged and before anything is quantised or compiled. Queries, keys and values of each stream
of a double block become one layer; of a single block also the first layer of its MLP. The last single block stays as
it is: of its layers, some are asked for fewer rows than others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from models.flux.transformer import UxoTransformer


def fuse(transformer: UxoTransformer) -> None:
    """Put the layers of every block together; the single ones are gone afterwards, and their memory with them."""
    for block in transformer.transformer_blocks:
        _fuse_into(block.attn, "to_qkv", [(block.attn, name) for name in ("to_q", "to_k", "to_v")])
        _fuse_into(block.attn, "to_added_qkv", [(block.attn, f"add_{letter}_proj") for letter in "qkv"])
    for block in transformer.single_transformer_blocks[:-1]:
        attention = [(block.attn, name) for name in ("to_q", "to_k", "to_v")]
        _fuse_into(block, "to_qkv_mlp", [*attention, (block, "proj_mlp")])


def _fuse_into(owner: nn.Module, name: str, places: Sequence[tuple[Any, str]]) -> None:
    layers = [getattr(place, layer) for place, layer in places]
    assert all(type(layer) is nn.Linear for layer in layers), "merge LoRAs before fusing"  # noqa: S101 -- ours
    with torch.device("meta"):
        fused = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers))
    fused.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]), requires_grad=False)
    fused.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]), requires_grad=False)
    setattr(owner, name, fused)
    for place, layer in places:
        delattr(place, layer)
