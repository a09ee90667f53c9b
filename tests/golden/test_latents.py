"""Noise, packing and positions against the authors' own, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models.flux.latents import ShapeError, draw_noise, pack, reference_ids, target_ids, text_ids, unpack

#: Latent pixels, then tokens, of the recorded position cases are pixels / 16.
TOKEN = 16


@pytest.mark.parametrize(("seed", "height", "width"), [(0, 64, 64), (3407, 48, 80), (123456789, 32, 32)], ids=str)
def test_noise(difference: Any, golden: Any, seed: int, height: int, width: int) -> None:
    """A seed draws the recorded noise, and its rounding to bfloat16 is what the authors draw in bfloat16."""
    recorded = golden("noise_cpu")
    name = f"seed{seed}_{height}x{width}"

    noise = draw_noise(seed, height=height, width=width)

    difference("noise float32", noise, recorded[f"{name}_float32"])
    difference("noise bfloat16", noise.to(torch.bfloat16), recorded[f"{name}_bfloat16"])


def test_noise_covers_odd_sizes() -> None:
    """A picture that does not fill its last tokens gets noise for all of them, at any scale."""
    shapes = [draw_noise(1, height=130, width=500, scale=scale).shape[-2:] for scale in (8, 32)]

    assert shapes == [(18, 64), (6, 16)]


def test_noise_leaves_the_global_generator_alone() -> None:
    """Drawing noise neither reads nor moves torch's own random state."""
    before = torch.get_rng_state()

    draw_noise(5, height=64, width=64)

    assert torch.equal(torch.get_rng_state(), before)


def test_pack(difference: Any, golden: Any) -> None:
    """Latents fold into the recorded tokens and back."""
    recorded = golden("pack")

    tokens = pack(recorded["latents"])
    unpacked = unpack(recorded["tokens"], height=6, width=8)

    difference("pack", tokens, recorded["tokens"])
    difference("unpack", unpacked, recorded["unpacked"])


@pytest.mark.parametrize("sides", [(3, 4), (4, 3)])
def test_pack_refuses_odd_sides(sides: tuple[int, int]) -> None:
    """An odd side has no 2x2 patches."""
    with pytest.raises(ShapeError, match=f"{sides[0]}x{sides[1]}"):
        pack(torch.zeros(1, 16, *sides))


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 8), (8, 3), (5, 5)])
def test_unpack_refuses_another_rectangle(height: int, width: int) -> None:
    """Six tokens fill only rectangles of six patches."""
    with pytest.raises(ShapeError, match="6 tokens"):
        unpack(torch.zeros(1, 6, 64), height=height, width=width)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_target_and_text_ids(difference: Any, golden: Any, golden_json: Callable[[str], Any], case: int) -> None:
    """The target counts from the origin; text stands at it."""
    recorded = golden("position_ids")
    height, width = golden_json("config")["position_cases"][case]["target_hw"]

    target = target_ids(height // TOKEN, width // TOKEN)
    text = text_ids(4)

    difference("target ids", target, recorded[f"{case}.img_ids"])
    difference("text ids", text, recorded[f"{case}.txt_ids"])
    assert target.dtype == text.dtype == torch.float32


@pytest.mark.parametrize("mode", ["d", "h", "w", "o"])
@pytest.mark.parametrize("case", [0, 1])
def test_reference_ids(difference: Any, golden: Any, golden_json: Callable[[str], Any], case: int, mode: str) -> None:
    """Every mode places every reference where the authors do."""
    recorded = golden("position_ids")
    sizes = golden_json("config")["position_cases"][case]
    references = [_in_tokens(each) for each in sizes["refs_hw"]]

    placed = reference_ids(_in_tokens(sizes["target_hw"]), references, mode=mode)

    for number, ids in enumerate(placed):
        difference(f"reference ids {mode}", ids, recorded[f"{case}.{mode}.ref_img_ids.{number}"])
        assert ids.dtype == torch.float32


def _in_tokens(pixels: list[int]) -> tuple[int, int]:
    return pixels[0] // TOKEN, pixels[1] // TOKEN


def test_no_references_have_no_ids() -> None:
    """Plain text to image is a request without references, not an error."""
    placed: list[Tensor] = reference_ids((8, 4), [])

    assert placed == []


def test_unknown_position_mode() -> None:
    """A mode nobody trained is refused by name."""
    with pytest.raises(ValueError, match="'x'"):
        reference_ids((8, 4), [(2, 2)], mode="x")
