"""USO's style path: a picture's look, read by SigLIP at three depths and projected to tokens of the text stream.

Knows one SigLIP tower and one projector; knows neither the transformer nor where the tokens stand in its sequence.

    picture ──► square pixels ──► hidden states -2, -11, -20 ──► projector ──► style tokens
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import SiglipVisionModel

#: Level names, in token order, and the hidden state each one reads, counted from the end of the tower's list.
#: Source: USO, published pipeline code, 2025.
LEVELS: tuple[tuple[str, int], ...] = (("high", -2), ("mid", -11), ("low", -20))


class StyleProjector(nn.Module):
    """Project three levels of SigLIP features to style tokens; its state has the released file's keys.

    Args:
        siglip_tokens: patches of a picture; 729 in the released weights.
        siglip_width: width of a patch's features; 1152.
        style_tokens: tokens per level; 64.
        hidden: width of the transformer; 3072.

    Source: USO, published projector code, 2025; checked by tests/golden/uso_projector_case.safetensors.
    """

    def __init__(self, *, siglip_tokens: int, siglip_width: int, style_tokens: int, hidden: int) -> None:
        super().__init__()
        self.feature_embedder = nn.ModuleDict()
        for level, _ in LEVELS:
            linear = nn.Sequential(nn.Linear(siglip_tokens, style_tokens), nn.SiLU())
            self.feature_embedder[f"{level}_embedding_linear"] = linear
            self.feature_embedder[f"{level}_layer_norm"] = nn.LayerNorm(siglip_width)
            self.feature_embedder[f"{level}_projection"] = nn.Linear(siglip_width, hidden)

    def forward(self, *features: Tensor) -> Tensor:
        """Project (batch, siglip_tokens, siglip_width) per level, in the order of ``LEVELS``.

        Returns:
            (batch, 3 * style_tokens, hidden).
        """
        levels = zip(LEVELS, features, strict=True)
        return torch.cat([self._project(level, feature) for (level, _), feature in levels], dim=1)

    def _project(self, level: str, features: Tensor) -> Tensor:
        parts = self.feature_embedder
        tokens = parts[f"{level}_embedding_linear"](features.transpose(1, 2)).transpose(1, 2)
        projected: Tensor = parts[f"{level}_projection"](parts[f"{level}_layer_norm"](tokens))
        return projected


class StyleEncoder:
    """Turn a style picture into style tokens."""

    def __init__(self, *, siglip: SiglipVisionModel, projector: StyleProjector) -> None:
        self._siglip = siglip
        self._projector = projector
        nn.ModuleList([siglip, projector]).eval().requires_grad_(requires_grad=False)

    def encode(self, image: Image.Image) -> Tensor:
        """Return (1, style tokens, hidden) in the projector's dtype."""
        side = self._siglip.config.image_size
        assert isinstance(side, int)  # noqa: S101 -- the published towers are square
        pixels = to_square(image, side).to(self._siglip.device)
        dtype = next(self._projector.parameters()).dtype
        tokens: Tensor = self._projector(*(level.to(dtype) for level in read_levels(self._siglip, pixels)))
        return tokens


def to_square(image: Image.Image, side: int) -> Tensor:
    """Squeeze a picture into SigLIP's square; proportions are not kept.

    Returns:
        (1, 3, side, side) float32 in [-1, 1].

    Source: SigLIP's published preprocessing settings: bicubic, factor 1/255, mean and deviation 0.5.
    """
    squeezed = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    levels = torch.from_numpy(np.array(squeezed)).permute(2, 0, 1)[None]
    # The factor is applied in float64 and the product rounded once, as the published preprocessing does.
    return ((levels.to(torch.float64) / 255).to(torch.float32) - 0.5) / 0.5


def read_levels(siglip: SiglipVisionModel, pixels: Tensor) -> list[Tensor]:
    """Run the tower as far as it is read: its last layer, last norm and head never.

    Args:
        siglip: a tower of at least 19 layers.
        pixels: (batch, 3, side, side) as ``to_square`` makes them.

    Returns:
        (batch, siglip_tokens, siglip_width) per level of ``LEVELS``.
    """
    states: list[Tensor] = [siglip.embeddings(pixels)]
    layers = siglip.encoder.layers
    # The full list of hidden states has one more entry than the tower has layers: state i stands after i layers.
    depths = [len(layers) + 1 + index for _, index in LEVELS]
    for layer in layers[: max(depths)]:
        states.append(layer(states[-1], attention_mask=None))
    return [states[depth] for depth in depths]
