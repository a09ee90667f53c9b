"""Linear layers whose weights are 8-bit floats, with a scale for every row of the weights and of what goes in.

    weights ──► rows scaled to the format's range, once          input ──► rows scaled likewise, at every call

Devices that multiply such matrices do so; elsewhere the same numbers are widened first, which is slow and equally
wrong, so that the loss can be measured without such a device. Lossy: done only where it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

if TYPE_CHECKING:
    from models.flux.transformer import UxoTransformer

#: Four bits of exponent, three of mantissa; no infinity.
FORMAT = torch.float8_e4m3fn
#: The largest number of it. Source: torch.finfo, and "FP8 Formats for Deep Learning" (arXiv 2209.05433), table 1.
LARGEST = 448.0
#: Below this a row is as good as zero; keeps its scale from being 0.
SMALLEST = 1e-12
#: Both sides of a matrix are multiples of this where a device multiplies it.
GRID = 16
#: Layers of a block that stay as they are: what modulates is computed once a request, and sets the tone of every row.
SPARED = ("norm",)


class Fp8Linear(nn.Module):
    """A linear layer with 8-bit weights.

    Args:
        layer: whose numbers are taken, on the device that will compute; it can be let go of afterwards.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight, scale = quantise(layer.weight)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = layer.bias
        fits = not (self.in_features % GRID or self.out_features % GRID)
        self._is_native = fits and multiplies_fp8(layer.weight.device)

    def forward(self, hidden: Tensor) -> Tensor:
        """Apply the layer; the result has the dtype of what goes in."""
        rows = hidden.reshape(-1, self.in_features)
        narrow, scale = quantise(rows)
        # Row-wise scales are for bfloat16 results alone.
        multiply = _multiply if self._is_native and rows.dtype == torch.bfloat16 else _multiply_widened
        outputs = multiply(narrow, self.weight, scales=(scale, self.scale), bias=self.bias, dtype=hidden.dtype)
        return outputs.reshape(*hidden.shape[:-1], self.out_features)


def multiplies_fp8(device: torch.device) -> bool:
    """Whether a device multiplies such matrices itself: NVIDIA's from compute capability 8.9 on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


def quantise(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Round (rows, width) to 8 bits.

    Returns:
        The rows divided by their scale, and their scales as (rows, 1) float32: each row's largest number becomes the
        format's largest.
    """
    wide = rows.to(torch.float32)
    scale = wide.abs().amax(dim=-1, keepdim=True).clamp(min=SMALLEST) / LARGEST
    return (wide / scale).clamp(-LARGEST, LARGEST).to(FORMAT), scale


def quantise_blocks(transformer: UxoTransformer) -> None:
    """Put 8-bit layers in the place of every linear layer that is applied to every token of a block."""
    for blocks in (transformer.transformer_blocks, transformer.single_transformer_blocks):
        for name, layer in list(blocks.named_modules()):
            if type(layer) is nn.Linear and not _is_spared(name):
                parent, _, leaf = name.rpartition(".")
                setattr(blocks.get_submodule(parent), leaf, Fp8Linear(layer))


def _is_spared(name: str) -> bool:
    return any(part.startswith(SPARED) for part in name.split("."))


def _multiply(
    rows: Tensor, weight: Tensor, *, scales: tuple[Tensor, Tensor], bias: Tensor, dtype: torch.dtype
) -> Tensor:
    of_rows, of_weight = scales
    return torch._scaled_mm(  # noqa: SLF001 -- the only door to these products that torch has
        rows, weight.T, scale_a=of_rows, scale_b=of_weight.T, bias=bias, out_dtype=dtype, use_fast_accum=True
    )


def _multiply_widened(
    rows: Tensor, weight: Tensor, *, scales: tuple[Tensor, Tensor], bias: Tensor, dtype: torch.dtype
) -> Tensor:
    of_rows, of_weight = scales
    products = linear(rows.to(torch.float32) * of_rows, weight.to(torch.float32) * of_weight, bias.to(torch.float32))
    return products.to(dtype)
