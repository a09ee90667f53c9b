"""A small style path that sees colours: a SigLIP tower and a projector, the real classes.

The first channels of the tower carry the red, green and blue of a patch past all its layers; the projector writes them
where the denoiser keeps a token's colours, patch by patch, so that all of a palette arrives and not its mean alone. The
rest is random features. Knows the denoiser's residual stream.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from models.flux.style import LEVELS, StyleEncoder, StyleProjector
from models.tiny.denoiser import ANCHOR, COLOURS, HIDDEN, LAYOUT, MARK, TOKEN
from models.tiny.seeded import build, fill

#: Layers of the tower; the deepest level that is read needs 19.
LAYERS = 19
#: Width of the tower, and sides of its picture and of a patch in pixels.
WIDTH, SIDE, PATCH_SIDE = 24, 64, 8
PATCHES = (SIDE // PATCH_SIDE) ** 2
#: Style tokens per level; each is the mean of two patches.
TOKENS = PATCHES // 2

#: Channels of the tower: the colours, then a constant that keeps their strength through the projector's norm, and one
#: that stays 0: after the norm it is where grey is, whatever the picture.
RGB, STILL, GREY, STILL_LEVEL = range(3), 3, 4, 8.0
#: Lifts the projector's SiLU to where it changes nothing.
LIFT = 6.0
#: Level of a pure colour in the denoiser's scene, times the spread that the projector's norm divides by; then the mark,
#: and the constant that every token of the denoiser carries.
COLOUR_SCENE, STYLE_MARK, STYLE_ANCHOR = 3.0, 3.0, 2.0
#: How strong random features are: weak, so that what is looked up of a style hangs on its colours.
FEATURES = 0.1

#: Root mean square that each matrix gives its outputs.
GAINS = {"*position_embedding*": 1.0, "*out_proj.weight": 0.2, "*fc2.weight": 0.2}


def style_encoder(*, device: str) -> StyleEncoder:
    """Build the tower and the projector."""
    config = SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH_SIDE,
        vision_use_head=False,
    )
    siglip = build(lambda: SiglipVisionModel(config))
    projector = build(
        lambda: StyleProjector(siglip_tokens=PATCHES, siglip_width=WIDTH, style_tokens=TOKENS, hidden=HIDDEN)
    )
    with torch.no_grad():
        fill(siglip, name="siglip", gains=GAINS)
        fill(projector, name="projector", gains={})
        _see_colours(siglip)
        for level, _ in LEVELS:
            _hand_over(projector.feature_embedder, level)
    nn.ModuleList([siglip, projector]).to(device)
    return StyleEncoder(siglip=siglip, projector=projector)


def _see_colours(siglip: Any) -> None:
    kept = [*RGB, STILL, GREY]
    patches = siglip.embeddings.patch_embedding
    patches.weight[kept] = 0
    for colour in RGB:
        patches.weight[colour, colour] = 1 / PATCH_SIDE**2
    patches.bias[STILL] = STILL_LEVEL
    siglip.embeddings.position_embedding.weight[:, kept] = 0
    for layer in siglip.encoder.layers:
        layer.self_attn.out_proj.weight[kept] = 0
        layer.mlp.fc2.weight[kept] = 0


def _hand_over(parts: Any, level: str) -> None:
    mix = parts[f"{level}_embedding_linear"][0]
    mix.weight.copy_(torch.eye(TOKENS).repeat_interleave(2, dim=1) / 2)
    mix.bias.fill_(LIFT)
    projection = parts[f"{level}_projection"]
    projection.weight *= FEATURES
    projection.weight[TOKEN] = 0
    for row in (ANCHOR, *range(COLOURS.start, COLOURS.stop), MARK, *range(LAYOUT.start, LAYOUT.stop)):
        projection.weight[row] = 0
    for colour in RGB:
        projection.weight[COLOURS.start + colour, colour] = COLOUR_SCENE
        projection.weight[COLOURS.start + colour, GREY] = -COLOUR_SCENE
    projection.bias[ANCHOR] = STYLE_ANCHOR
    projection.bias[MARK] = STYLE_MARK
    # The denoiser's norm takes this mean away again.
    projection.bias[COLOURS] = (STYLE_ANCHOR + STYLE_MARK) / HIDDEN
