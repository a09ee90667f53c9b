"""Filling a SigLIP vision tower from a checkpoint of either naming; knows nothing of what is read from the tower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.flux.weights import load_exactly, without_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

#: What the published checkpoint holds besides the vision tower. Source: google/siglip-so400m-patch14-384, seen 2026-11.
TEXT_SIDE = ("text_model.", "logit_scale", "logit_bias")


def load_siglip(tower: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill a vision tower; the checkpoint's text side is left out, and ``vision_model.`` in its keys may be there.

    Raises:
        WeightsError: when a tensor of the vision side is unknown, missing, doubled or of the wrong shape.
    """
    vision = {key: tensor for key, tensor in tensors.items() if not key.startswith(TEXT_SIDE)}
    load_exactly(tower, without_prefix(vision, "vision_model."))
