"""SigLIP and the style projector against the authors' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from models.flux.style import LEVELS, StyleEncoder, StyleProjector, read_levels, to_square
from models.flux.weights import load_exactly

#: Kernels of another build may sum in another order.
LIMIT = 2e-5


@pytest.fixture
def siglip(golden: Any, golden_json: Callable[[str], Any]) -> SiglipVisionModel:
    """Load the recorded tower."""
    tower = SiglipVisionModel(SiglipVisionConfig(**golden_json("config")["siglip"]))
    load_exactly(tower, golden("siglip_vision"))
    return tower


@pytest.fixture
def projector(golden: Any, golden_json: Callable[[str], Any]) -> StyleProjector:
    """Load the recorded projector by its released key names."""
    config = golden_json("config")
    loaded = StyleProjector(
        siglip_tokens=config["projector"]["siglip_token_nums"],
        siglip_width=config["projector"]["siglip_token_dims"],
        style_tokens=config["projector"]["style_token_nums"],
        hidden=config["transformer"]["hidden_size"],
    )
    load_exactly(loaded, golden("uso_projector"))
    return loaded


def test_pixels(difference: Any, golden: Any) -> None:
    """A picture of any proportions becomes the recorded square."""
    recorded = golden("siglip_case")

    pixels = to_square(Image.fromarray(recorded["image_uint8"].numpy()), 42)

    difference("siglip pixels", pixels, recorded["pixel_values"])


@torch.inference_mode()
def test_hidden_states(difference: Any, golden: Any, siglip: SiglipVisionModel) -> None:
    """The tower is read at the three recorded depths."""
    recorded = golden("siglip_case")

    levels = read_levels(siglip, recorded["pixel_values"])

    assert len(siglip.encoder.layers) + 1 == int(recorded["hidden_count"])
    for (name, _), level in zip(LEVELS, levels, strict=True):
        difference(f"siglip {name}", level, recorded[f"hidden_{name}"], limit=LIMIT)


@torch.inference_mode()
def test_projector(difference: Any, golden: Any, projector: StyleProjector) -> None:
    """A batch of features becomes the recorded style tokens."""
    recorded = golden("uso_projector_case")

    tokens = projector(*(recorded[f"hidden_{name}"] for name, _ in LEVELS))

    difference("style projector", tokens, recorded["style_tokens"], limit=LIMIT)


@torch.inference_mode()
def test_picture_to_tokens(difference: Any, golden: Any, siglip: SiglipVisionModel, projector: StyleProjector) -> None:
    """A picture becomes the recorded style tokens."""
    recorded = golden("siglip_case")
    encoder = StyleEncoder(siglip=siglip, projector=projector)

    tokens = encoder.encode(Image.fromarray(recorded["image_uint8"].numpy()))

    difference("style tokens", tokens, recorded["style_tokens"], limit=LIMIT)


@torch.inference_mode()
def test_unread_parts_do_not_matter(golden: Any, siglip: SiglipVisionModel) -> None:
    """The last layer, the last norm and the head are never run."""
    pixels = golden("siglip_case")["pixel_values"]
    before = read_levels(siglip, pixels)

    # A bare module raises when it is called.
    siglip.encoder.layers[-1] = nn.Module()
    for unread in ("post_layernorm", "head"):
        siglip.add_module(unread, nn.Module())
    after = read_levels(siglip, pixels)

    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
