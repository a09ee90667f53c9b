"""The parts a FLUX pipeline is put together from; knows neither where weights come from nor what a request is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.flux.encodings import Encodings

if TYPE_CHECKING:
    import torch

    from models.flux.style import StyleEncoder
    from models.flux.text import TextEncoder
    from models.flux.transformer import UxoTransformer
    from models.flux.vae import Autoencoder


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxComponents:
    """Everything with weights that one model needs, ready on its device."""

    #: The denoiser, with its model's LoRA merged in or attached.
    transformer: UxoTransformer
    #: Between pixels and latents; float32.
    autoencoder: Autoencoder
    #: Between prompts and text features.
    text: TextEncoder
    #: Between style pictures and style tokens; None for a model without them.
    style: StyleEncoder | None
    #: Where the transformer computes.
    device: torch.device
    #: What the transformer computes in; latents, sigmas and rotary tables stay float32.
    dtype: torch.dtype
    #: What was encoded before by these very parts.
    encodings: Encodings = field(default_factory=Encodings)
