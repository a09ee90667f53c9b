"""What encoding and decoding take: the rows of the cost table besides the steps; random weights, made on the device."""

from __future__ import annotations

import statistics
from itertools import chain
from typing import Any

import torch
from transformers import SiglipVisionConfig, SiglipVisionModel, T5Config, T5EncoderModel

from loadtest.gpu.device import timed_ms
from models.flux.encoder_sizes import SIGLIP, T5
from models.flux.vae import Autoencoder, AutoencoderSizes, build

SMALL_T5: dict[str, Any] = {"vocab_size": 8, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
SMALL_SIGLIP: dict[str, Any] = {
    **SIGLIP,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
SMALL_SIZES = AutoencoderSizes(channels=(4, 4, 4, 4), blocks=1, groups=2)
ROUNDS = 5


def random_autoencoder(*, device: str, is_small: bool) -> Autoencoder:
    """Make an autoencoder; FLUX.1's widths, or few."""
    torch.manual_seed(0)
    with torch.device(device):
        return Autoencoder(build(SMALL_SIZES if is_small else AutoencoderSizes()))


@torch.inference_mode()
def decodes(autoencoder: Autoencoder, sides: tuple[int, ...], *, device: str) -> list[dict[str, float]]:
    """Time decoding of square pictures."""
    found = []
    for side in sides:
        latents = torch.randn(1, 16, side // 8, side // 8, device=device)
        ms = timed_ms(lambda latents=latents: autoencoder.decode(latents), device=device, rounds=ROUNDS)  # type: ignore[misc]
        found.append({"pixels": float(side**2), "ms": statistics.median(ms)})
    return found


@torch.inference_mode()
def references(autoencoder: Autoencoder, sides: tuple[int, ...], *, device: str) -> list[dict[str, float]]:
    """Time encoding of square references, from pixels on the CPU."""
    from PIL import Image  # noqa: PLC0415 -- this part's alone

    found = []
    for side in sides:
        images = [Image.new("RGB", (side, side))]
        ms = timed_ms(lambda images=images: autoencoder.encode(images), device=device, rounds=ROUNDS)  # type: ignore[misc]
        found.append({"tokens": side**2 / 256, "ms": statistics.median(ms)})
    return found


@torch.inference_mode()
def texts(*, device: str, is_small: bool, dtype: torch.dtype) -> list[dict[str, float]]:
    """Time T5 over a prompt of 512 tokens; CLIP is a fiftieth of it."""
    config = T5Config(feed_forward_proj="gated-gelu", **(SMALL_T5 if is_small else T5))
    network = _random(T5EncoderModel, config, device=device, dtype=dtype)
    ids = torch.zeros(1, 512, dtype=torch.long, device=device)
    ms = timed_ms(lambda: network(input_ids=ids), device=device, rounds=ROUNDS)
    return [{"ms": statistics.median(ms)}]


@torch.inference_mode()
def styles(*, device: str, is_small: bool) -> list[dict[str, float]]:
    """Time SigLIP over a style picture, in float32 as it is served; its projector is as nothing beside it."""
    config = SiglipVisionConfig(**(SMALL_SIGLIP if is_small else SIGLIP))
    network = _random(SiglipVisionModel, config, device=device, dtype=torch.float32)
    pixels = torch.zeros(1, 3, 384, 384, device=device)
    ms = timed_ms(lambda: network(pixel_values=pixels), device=device, rounds=ROUNDS)
    return [{"ms": statistics.median(ms)}]


def _random(kind: Any, config: Any, *, device: str, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        network = kind(config)
    network = network.to(dtype).to_empty(device=device).eval().requires_grad_(requires_grad=False)
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.is_floating_point():
            tensor.normal_(std=0.02)
        else:
            # Positions: the only whole numbers that either network keeps.
            tensor.copy_(torch.arange(tensor.numel(), device=device).view_as(tensor))
    return network
