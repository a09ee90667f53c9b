"""The networks of the released models, without weights: every parameter on the meta device until it is filled.

Knows their widths and nothing of files. Buffers are real, since no file holds them.
Source: config.json of the folders of black-forest-labs/FLUX.1-dev and google/siglip-so400m-patch14-384, and the shapes
of the files of bytedance-research/UNO and /USO, seen 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accelerate import init_empty_weights
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)

from models.flux import vae
from models.flux.encoder_sizes import CLIP, SIGLIP, T5
from models.flux.style import StyleProjector
from models.flux.transformer import UxoTransformer


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The widths of every network; the defaults are those of the released weights."""

    #: Arguments of the transformer's constructor.
    transformer: Mapping[str, Any] = field(default_factory=lambda: {"guidance_embeds": True})
    #: Of the autoencoder.
    autoencoder: vae.AutoencoderSizes = field(default_factory=vae.AutoencoderSizes)
    #: Arguments of CLIP's configuration.
    clip: Mapping[str, Any] = field(default_factory=lambda: CLIP)
    #: Arguments of T5's configuration.
    t5: Mapping[str, Any] = field(default_factory=lambda: T5)
    #: Arguments of SigLIP's configuration.
    siglip: Mapping[str, Any] = field(default_factory=lambda: SIGLIP)
    #: Style tokens per level of the projector.
    style_tokens: int = 64
    #: Rank of the LoRA of each model.
    ranks: Mapping[str, int] = field(default_factory=lambda: {"uno": 512, "uso": 128})


RELEASED = Sizes()


def make(part: str, sizes: Sizes) -> nn.Module:
    """Make the network of a part, ``uno`` and ``uso`` being the transformer that their LoRA is for.

    Raises:
        KeyError: when there is no such part.
    """
    with init_empty_weights(include_buffers=False):
        network = _MAKERS[part](sizes)
    return network.eval().requires_grad_(requires_grad=False)


def _transformer(sizes: Sizes) -> nn.Module:
    return UxoTransformer(**sizes.transformer)  # type: ignore[no-any-return]  # diffusers ships no types


def _autoencoder(sizes: Sizes) -> nn.Module:
    return vae.build(sizes.autoencoder)  # type: ignore[no-any-return]  # as above


def _clip(sizes: Sizes) -> nn.Module:
    return CLIPTextModel(CLIPTextConfig(**sizes.clip))


def _t5(sizes: Sizes) -> nn.Module:
    network = T5EncoderModel(T5Config(feed_forward_proj="gated-gelu", **sizes.t5))
    # On the meta device the tie between the two names of one table is lost.
    network.encoder.embed_tokens = network.shared
    return network


def _siglip(sizes: Sizes) -> nn.Module:
    return SiglipVisionModel(SiglipVisionConfig(**sizes.siglip))


def _projector(sizes: Sizes) -> nn.Module:
    side = sizes.siglip["image_size"] // sizes.siglip["patch_size"]
    heads, width = sizes.transformer.get("num_attention_heads", 24), sizes.transformer.get("attention_head_dim", 128)
    return StyleProjector(
        siglip_tokens=side**2,
        siglip_width=sizes.siglip["hidden_size"],
        style_tokens=sizes.style_tokens,
        hidden=heads * width,
    )


_MAKERS: Mapping[str, Callable[[Sizes], nn.Module]] = {
    "transformer": _transformer,
    "vae": _autoencoder,
    "clip": _clip,
    "t5": _t5,
    "uno": _transformer,
    "uso": _transformer,
    "projector": _projector,
    "siglip": _siglip,
}
