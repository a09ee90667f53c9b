"""The autoencoder against the authors' own, and its weights' accounting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.flux.vae import Autoencoder, AutoencoderSizes, load_bfl, to_uint8
from models.flux.weights import WeightsError

#: Kernels of another build may sum in another order.
LIMIT = 2e-5


@pytest.fixture
def sizes(golden_json: Callable[[str], Any]) -> AutoencoderSizes:
    """Read the recorded autoencoder's widths."""
    recorded = golden_json("config")["vae"]
    return AutoencoderSizes(
        channels=tuple(recorded["ch"] * factor for factor in recorded["ch_mult"]),
        blocks=recorded["num_res_blocks"],
        factor=recorded["scale_factor"],
        shift=recorded["shift_factor"],
    )


@pytest.fixture
def autoencoder(golden: Any, sizes: AutoencoderSizes) -> Autoencoder:
    """Load the recorded autoencoder."""
    return load_bfl(golden("vae_bfl"), sizes)


@torch.inference_mode()
def test_encode(difference: Any, golden: Any, autoencoder: Autoencoder) -> None:
    """A picture becomes the recorded mean latents."""
    recorded = golden("vae_case")
    image = Image.fromarray(recorded["image_uint8"].numpy())

    latents = autoencoder.encode([image])

    difference("vae encode", latents, recorded["latents_mean"], limit=LIMIT)


@torch.inference_mode()
def test_decode(difference: Any, golden: Any, autoencoder: Autoencoder) -> None:
    """Latents become the recorded picture."""
    recorded = golden("vae_case")

    decoded = autoencoder.decode(recorded["decode_in"])

    difference("vae decode", decoded, recorded["decode_out"].clamp(-1, 1), limit=LIMIT)
    difference.picture("vae picture", to_uint8(decoded)[0], recorded["decode_uint8"])


def test_grey_levels_are_cut_off(difference: Any, golden: Any) -> None:
    """Grey levels lose their fractions; rounding would change two bytes in five."""
    recorded = golden("vae_case")

    picture = to_uint8(recorded["decode_out"])[0]

    difference("grey levels", picture, recorded["decode_uint8"])


@torch.inference_mode()
def test_sides_are_filled_to_whole_tokens(autoencoder: Autoencoder) -> None:
    """A picture that ends inside a token is continued by its edge pixels, at the right and at the bottom."""
    levels = np.random.default_rng(3).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    continued = np.pad(levels, ((0, 8), (0, 2), (0, 0)), mode="edge")

    odd = autoencoder.encode([Image.fromarray(levels)])
    whole = autoencoder.encode([Image.fromarray(continued)])

    assert odd.shape == (1, 16, 6, 4)
    assert torch.equal(odd, whole)


def test_scale(autoencoder: Autoencoder) -> None:
    """Four levels halve the sides three times."""
    assert autoencoder.scale == 8


def test_unknown_tensor(golden: Any, sizes: AutoencoderSizes) -> None:
    """A tensor that nothing would use is an error that names it."""
    tensors = golden("vae_bfl") | {"encoder.stray.weight": torch.zeros(1)}

    with pytest.raises(WeightsError, match=r"encoder\.stray\.weight"):
        load_bfl(tensors, sizes)


def test_missing_tensor(golden: Any, sizes: AutoencoderSizes) -> None:
    """A tensor that is not in the file is an error that names it."""
    tensors = golden("vae_bfl")
    del tensors["decoder.up.2.upsample.conv.bias"]

    with pytest.raises(WeightsError, match=r"decoder\.up\.2\.upsample\.conv\.bias"):
        load_bfl(tensors, sizes)


def test_wrong_shape(golden: Any, sizes: AutoencoderSizes) -> None:
    """A tensor of another shape is an error that names it."""
    tensors = golden("vae_bfl") | {"decoder.conv_in.bias": torch.zeros(31)}

    with pytest.raises(WeightsError, match=r"decoder\.conv_in\.bias"):
        load_bfl(tensors, sizes)
