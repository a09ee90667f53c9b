"""The LoRA files of UNO, USO and UMO: read whole, then merged into a transformer or kept beside it.

Every block's attention projections carry one, strength 1, no alpha. Merged it costs nothing per step; apart, the
transformer stays FLUX.1 underneath and the arithmetic is the authors' own to the last bit of bfloat16.
Source: keys of ``dit_lora.safetensors`` (repositories bytedance-research/UNO and /USO), seen 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from models.flux.weights import WeightsError, check_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.flux.transformer import UxoTransformer

#: Where a fused pair goes; the rows of its up factor are cut over the targets. 1 is the image stream, 2 the text.
_DOUBLE_TARGETS = {
    "qkv_lora1": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "proj_lora1": ("attn.to_out.0",),
    "qkv_lora2": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "proj_lora2": ("attn.to_add_out",),
}

#: The MLP half of a single block's first linear carries none; its last linear carries one over its whole input.
_SINGLE_TARGETS = {
    "qkv_lora": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "proj_lora": ("proj_out",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraPair:
    """The two factors that one linear layer gets."""

    #: (rank, inputs).
    down: Tensor
    #: (outputs, rank).
    up: Tensor


#: Pairs by the diffusers name of the linear layer they belong to.
Lora: TypeAlias = Mapping[str, LoraPair]


def read_lora(transformer: UxoTransformer, tensors: Mapping[str, Tensor]) -> dict[str, LoraPair]:
    """Assign the tensors of a LoRA file to the linear layers of a transformer; ranks come from the shapes.

    Raises:
        WeightsError: when a tensor is unknown, missing or of the wrong shape.
    """
    sites = dict(_sites(transformer.config))
    check_exactly(tensors, lora_shapes(transformer, {site: _rank(tensors, site) for site in sites}))
    lora: dict[str, LoraPair] = {}
    for site, targets in sites.items():
        down, up = tensors[f"{site}.down.weight"], tensors[f"{site}.up.weight"]
        rows = [_linear(transformer, target).out_features for target in targets]
        parts = zip(targets, torch.split(up, rows), strict=True)
        lora |= {target: LoraPair(down=down, up=part) for target, part in parts}
    return lora


def lora_shapes(transformer: UxoTransformer, ranks: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """List what a LoRA file for this transformer holds, given each pair's rank by its key without ending."""
    shapes: dict[str, tuple[int, ...]] = {}
    for site, targets in _sites(transformer.config):
        linears = [_linear(transformer, target) for target in targets]
        shapes[f"{site}.down.weight"] = (ranks[site], linears[0].in_features)
        shapes[f"{site}.up.weight"] = (sum(linear.out_features for linear in linears), ranks[site])
    return shapes


def merge_lora(transformer: UxoTransformer, lora: Lora) -> None:
    """Add a LoRA to the weights for good; product and sum in float32, the result in the weights' own dtype."""
    with torch.no_grad():
        for target, pair in lora.items():
            weight = _linear(transformer, target).weight
            product = pair.up.to(torch.float32) @ pair.down.to(torch.float32)
            weight.copy_(weight.to(torch.float32) + product.to(weight.device))


def attach_lora(transformer: UxoTransformer, lora: Lora) -> None:
    """Put a LoRA beside the weights, which stay as they are.

    Costs about an eighth more work in the block linears at rank 512; merge for serving.
    """
    for target, pair in lora.items():
        parent, _, name = target.rpartition(".")
        wrapped = LoraLinear(_linear(transformer, target), pair)
        setattr(transformer.get_submodule(parent), name, wrapped)


class LoraLinear(nn.Module):
    """A linear layer with a LoRA beside it, which computes in its own dtype and casts back."""

    def __init__(self, linear: nn.Linear, pair: LoraPair) -> None:
        super().__init__()
        device = linear.weight.device
        self.linear = linear
        self.down = nn.Parameter(pair.down.to(device), requires_grad=False)
        self.up = nn.Parameter(pair.up.to(device), requires_grad=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Apply the layer and add the low-rank detour."""
        plain: Tensor = self.linear(hidden)
        detour = hidden.to(self.down.dtype) @ self.down.T @ self.up.T
        return plain + detour.to(plain.dtype)


def _sites(config: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    for index in range(config.num_layers):
        for name, targets in _DOUBLE_TARGETS.items():
            prefix = f"transformer_blocks.{index}."
            yield f"double_blocks.{index}.processor.{name}", tuple(prefix + target for target in targets)
    for index in range(config.num_single_layers):
        for name, targets in _SINGLE_TARGETS.items():
            prefix = f"single_transformer_blocks.{index}."
            yield f"single_blocks.{index}.processor.{name}", tuple(prefix + target for target in targets)


def _rank(tensors: Mapping[str, Tensor], site: str) -> int:
    """Read a pair's rank; without a down factor any number will do, since its key is then reported as missing."""
    key = f"{site}.down.weight"
    return tensors[key].shape[0] if key in tensors else 0


def _linear(transformer: UxoTransformer, target: str) -> nn.Linear:
    linear: nn.Module = transformer.get_submodule(target)
    if not isinstance(linear, nn.Linear):
        raise WeightsError(f"{target} carries a LoRA already; one transformer takes one")
    return linear
