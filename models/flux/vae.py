"""The autoencoder between pixels and latents, always in float32.

Knows FLUX's shift and factor, how its weights are named in the Black Forest Labs file, and how pixels are rounded.
Knows neither reference sizes nor tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from models.flux.latents import CHANNELS, PATCH
from models.flux.weights import WeightsError, listed, load_exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderSizes:
    """The widths of an autoencoder; the defaults are FLUX.1's.

    Source: FLUX.1 reference code, model table, 2024.
    """

    #: Channels of each level from the finest to the coarsest; every level but the last halves the sides.
    channels: tuple[int, ...] = (128, 256, 512, 512)
    #: Residual blocks of each encoder level; the decoder has one more.
    blocks: int = 2
    #: Groups of every group norm.
    groups: int = 32
    #: Factor on the shifted latents.
    factor: float = 0.3611
    #: Subtracted from the latents before the factor.
    shift: float = 0.1159


class Autoencoder:
    """Turn pictures into latents and latents into pictures.

    Args:
        network: with float32 weights; the authors never encode or decode in less.
    """

    def __init__(self, network: AutoencoderKL) -> None:
        self._network = network.eval().requires_grad_(requires_grad=False)
        self._shift = float(network.config.shift_factor)
        self._factor = float(network.config.scaling_factor)
        #: Pixels per latent pixel.
        self.scale: int = 2 ** (len(network.config.block_out_channels) - 1)

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """Encode pictures of one size.

        The authors draw from the posterior with an unseeded generator; its mean is taken here, so that a request
        means one picture. Sides that do not fill whole tokens are continued by their edge pixels; references never
        need that at FLUX's own scale.

        Returns:
            (batch, 16, height, width) in latent pixels, shifted and scaled, float32.

        Source: UNO, published sampling code, 2025; checked by tests/golden/vae_case.safetensors.
        """
        pixels = torch.stack([_to_pixels(image) for image in images]).to(self._network.device)
        mean = self._network.encode(_fill_tokens(pixels, PATCH * self.scale)).latent_dist.mode()
        latents: Tensor = (mean - self._shift) * self._factor
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents of any float type.

        Returns:
            (batch, 3, height, width) in pixels, float32, clamped to [-1, 1].
        """
        raw = latents.to(self._network.device, torch.float32) / self._factor + self._shift
        decoded: Tensor = self._network.decode(raw).sample
        return decoded.clamp(-1, 1)


def _to_pixels(image: Image.Image) -> Tensor:
    levels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    return levels.to(torch.float32) / 255 * 2 - 1


def _fill_tokens(pixels: Tensor, grid: int) -> Tensor:
    height, width = pixels.shape[-2:]
    return torch.nn.functional.pad(pixels, (0, -width % grid, 0, -height % grid), mode="replicate")


def to_uint8(decoded: Tensor) -> Tensor:
    """Turn (batch, 3, height, width) in [-1, 1] into (batch, height, width, 3) uint8 on the CPU.

    Fractions are cut off, not rounded: that is how the authors' programs write their files.
    """
    levels = 127.5 * (decoded.to(torch.float32).clamp(-1, 1) + 1)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).cpu()


def build(sizes: AutoencoderSizes) -> AutoencoderKL:
    """Make an autoencoder with unset weights."""
    levels = len(sizes.channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=sizes.channels,
        layers_per_block=sizes.blocks,
        latent_channels=CHANNELS,
        norm_num_groups=sizes.groups,
        scaling_factor=sizes.factor,
        shift_factor=sizes.shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def load_bfl(tensors: Mapping[str, Tensor], sizes: AutoencoderSizes) -> Autoencoder:
    """Make an autoencoder from tensors named as in Black Forest Labs' ``ae.safetensors``.

    Raises:
        WeightsError: when a tensor is unknown, missing or of the wrong shape.
    """
    network = build(sizes)
    names = bfl_names(network)
    if unknown := tensors.keys() - set(names.values()):
        raise WeightsError(f"unknown tensors: {listed(unknown)}")
    if missing := set(names.values()) - tensors.keys():
        raise WeightsError(f"missing tensors: {listed(missing)}")
    load_exactly(network, {key: as_linear(key, tensors[name]) for key, name in names.items()})
    return Autoencoder(network)


#: How diffusers' names become the file's, applied in this order.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)", r"up.\1.block.\2"),
    (r"up_blocks\.(\d+)\.upsamplers\.0", r"up.\1.upsample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
)


def bfl_names(network: AutoencoderKL) -> dict[str, str]:
    """Return what each of diffusers' names is called in the file."""
    levels = len(network.config.block_out_channels)
    return {key: _bfl_name(key, levels=levels) for key in network.state_dict()}


def _bfl_name(key: str, *, levels: int) -> str:
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    # The file counts the decoder's levels from the finest, diffusers from the coarsest.
    return re.sub(r"\bup\.(\d+)", lambda match: f"up.{levels - 1 - int(match[1])}", key)


def as_linear(key: str, tensor: Tensor) -> Tensor:
    """Return a tensor of the file in the shape that diffusers has it in; ``key`` is diffusers' name."""
    is_pointwise = tensor.ndim == 4 and "attentions" in key  # the file keeps these linears as 1x1 convolutions
    return tensor[:, :, 0, 0] if is_pointwise else tensor
