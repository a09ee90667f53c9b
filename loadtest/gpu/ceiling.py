"""What a device does at most: products of matrices, attention, and copies; what shares are shares of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import scaled_dot_product_attention

from loadtest.gpu.device import timed_ms

#: (rows, inputs, outputs): a large square, and the products of a 1024x1024 picture's single blocks.
FULL = ((8192, 8192, 8192), (4608, 3072, 21504), (4608, 15360, 3072), (4096, 3072, 12288))
SMALL = ((64, 64, 64),)
#: (heads, tokens, head width).
FULL_HEADS, SMALL_HEADS = (24, 4608, 128), (2, 64, 16)
#: Seconds that each is kept up at least, as long as a picture takes: for a moment a device is faster than its power
#: and its cooling allow. A CPU only shows that it runs.
SUSTAINED_S, SMALL_SUSTAINED_S = 3.0, 0.002
#: Times that something is done before the clock is looked at.
ROUNDS = 40


def ceilings(*, device: str, is_small: bool) -> dict[str, float]:
    """Measure each for as long as a picture takes; TFLOP/s, and GB/s for copies."""
    products, heads = (SMALL, SMALL_HEADS) if is_small else (FULL, FULL_HEADS)
    seconds = SMALL_SUSTAINED_S if is_small else SUSTAINED_S
    dtype = torch.float32 if is_small else torch.bfloat16
    found = {}
    for rows, inputs, outputs in products:
        one, other = (torch.randn(*shape, device=device, dtype=dtype) for shape in ((rows, inputs), (outputs, inputs)))
        rate = _rate(lambda one=one, other=other: one @ other.T, device=device, seconds=seconds)  # type: ignore[misc]
        found[f"matmul {rows}x{inputs}x{outputs}, TFLOP/s"] = 2e-12 * rows * inputs * outputs * rate
    found["attention, TFLOP/s"] = _attention(heads, device=device, dtype=dtype, seconds=seconds)
    plain = torch.zeros(1 << (16 if is_small else 31), dtype=torch.uint8, device=device)
    found["copy, GB/s"] = 2e-9 * plain.numel() * _rate(plain.clone, device=device, seconds=seconds)
    return found


def best_tflops(found: dict[str, float]) -> float:
    """Return the fastest product: the ceiling that shares are told of."""
    return max(rate for name, rate in found.items() if name.startswith("matmul"))


def _attention(heads: tuple[int, int, int], *, device: str, dtype: torch.dtype, seconds: float) -> float:
    count, tokens, width = heads
    rows = torch.randn(1, count, tokens, width, device=device, dtype=dtype)
    rate = _rate(lambda: scaled_dot_product_attention(rows, rows, rows), device=device, seconds=seconds)
    return 4e-12 * count * tokens**2 * width * rate


def _rate(work: Callable[[], object], *, device: str, seconds: float) -> float:
    rounds, took_s = sustained(work, device=device, seconds=seconds)
    return rounds / took_s


def sustained(work: Callable[[], object], *, device: str, seconds: float) -> tuple[int, float]:
    """Do some work over and over for so long at least; return how often it was done, and in how many seconds."""
    rounds, took_ms = 0, 0.0
    while took_ms < seconds * 1e3:
        took_ms += sum(timed_ms(work, device=device, rounds=ROUNDS))
        rounds += ROUNDS
    return rounds, took_ms / 1e3
