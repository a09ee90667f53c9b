"""The real pipelines with small random weights, made on the spot: for development, tests and demonstrations.

Same classes, same arithmetic, same code paths as with released weights; only the widths differ, and the autoencoder
reduces a picture 32 times instead of 8, so that one CPU core finishes a megapixel in under two seconds. Reads no file
and asks no hub. Knows no request.
"""

from __future__ import annotations

import torch

from models.flux.components import FluxComponents
from models.tiny.autoencoder import autoencoder
from models.tiny.denoiser import add_lora, transformer
from models.tiny.style import style_encoder
from models.tiny.text import WIDTH, text_encoder

#: Models that look at styles.
STYLED = frozenset({"uso"})


def components(model: str, *, device: str = "cpu") -> FluxComponents:
    """Build every part of one model; the same weights in every process, whatever its random state.

    Args:
        model: ``uno`` or ``uso``.
        device: a torch device name.

    Raises:
        KeyError: for another model.
    """
    denoiser = transformer(text_width=WIDTH, pooled_width=WIDTH)
    add_lora(denoiser, model)
    return FluxComponents(
        transformer=denoiser.to(device),
        autoencoder=autoencoder(device=device),
        text=text_encoder(device=device),
        style=style_encoder(device=device) if model in STYLED else None,
        device=torch.device(device),
        dtype=torch.float32,
    )
