"""Steps of several pictures in one call: what every further one adds, which pictures drawn alone cannot tell."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from loadtest.flux_pair import Ours, draw_case
from loadtest.gpu.device import forget_peak, peak_bytes, timed_ms
from loadtest.gpu.geometry import Shape

#: Steps that are measured of each group.
ROUNDS = 8


@torch.inference_mode()
def group_step(network: Any, shape: Shape, count: int, *, device: str, text_tokens: int) -> dict[str, Any]:
    """Time the steps of so many pictures of a shape together."""
    case = draw_case(network, shape.grid, shape.reference_grids, text_tokens=text_tokens, steps=1)
    run, targets = Ours(network, case), case.target.repeat(count, 1, 1)
    forget_peak(device)
    ms = timed_ms(lambda: run.velocity(targets, 0), device=device, rounds=ROUNDS)
    return {"tokens": case.tokens, "samples": count, "ms": statistics.median(ms), "peak_bytes": peak_bytes(device)}
