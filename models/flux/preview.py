"""Roughly the colours of latents, by one small matrix instead of a decoder.

The matrix is found once, from pictures whose latents the autoencoder tells: no number is taken from elsewhere, and it
fits whatever autoencoder is there. Knows neither samples nor steps.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from models.flux.vae import to_uint8

if TYPE_CHECKING:
    from models.flux.vae import Autoencoder

#: Pictures to learn from, and latent pixels on a side of each: many times as many pixels as the matrix has numbers.
PICTURES, SIDE = 6, 16
#: Patches of colour on a side of each: smooth enough that a latent pixel has one.
PATCHES = 5


class Preview:
    """Shows latents as small pictures."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        self._autoencoder = autoencoder

    def show(self, latents: Tensor) -> Image.Image:
        """Return an RGB picture with a pixel for every latent pixel.

        Args:
            latents: (1, 16, height, width), free of noise as far as they can be.
        """
        flat = latents[0].to("cpu", torch.float32).flatten(1).T
        colours = _with_one(flat) @ self._matrix
        [pixels] = to_uint8(colours.T.reshape(1, 3, *latents.shape[2:]))
        return Image.fromarray(pixels.numpy())

    @cached_property
    def _matrix(self) -> Tensor:
        """Find the (17, 3) matrix from latents and a one to colours in [-1, 1]."""
        side = SIDE * self._autoencoder.scale
        generator = torch.Generator("cpu").manual_seed(0)
        patches = torch.rand(PICTURES, 3, PATCHES, PATCHES, generator=generator) * 2 - 1
        pixels = interpolate(patches, size=(side, side), mode="bicubic").clamp(-1, 1)
        latents = self._autoencoder.encode([Image.fromarray(each.numpy()) for each in to_uint8(pixels)]).cpu()
        colours = avg_pool2d(pixels, self._autoencoder.scale)
        matrix: Tensor = torch.linalg.lstsq(_with_one(_rows(latents)), _rows(colours)).solution
        return matrix


def _rows(maps: Tensor) -> Tensor:
    """Turn (batch, channels, height, width) into a row per pixel."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
