"""One whole picture, step by step, with the moments between its steps: what each system is measured by."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from loadtest.flux_pair import Case, Ours, Stock
from loadtest.gpu.device import Marks, forget_peak, peak_bytes, settle
from models.flux.latents import unpack
from models.flux.vae import Autoencoder, to_uint8

#: Steps before those that are measured: kernels are chosen in them.
WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """How long it took."""

    #: Of the sequence.
    tokens: int
    #: Steps that were measured.
    steps: int
    #: A step: the middle one, the shortest and the longest, in milliseconds.
    step_ms: float
    fastest_ms: float
    slowest_ms: float
    #: The longest time between the end of a step and the beginning of the next, in milliseconds: the device adds the
    #: velocity to the tokens in it, and else does nothing.
    gap_ms: float
    #: From noise to pixels on the CPU, in seconds.
    picture_s: float
    #: Most bytes on the device at once, with all weights that lay there.
    peak_bytes: int | None


@torch.inference_mode()
def draw(run: Stock | Ours, case: Case, autoencoder: Autoencoder, *, device: str) -> dict[str, Any]:
    """Draw one picture unseen for a few steps, then whole."""
    steps, is_cuda = len(case.levels) - 1, device.startswith("cuda")
    for step in range(min(WARM_UP, steps)):
        run.velocity(case.target, step)
    _decode(case, case.target, autoencoder)
    forget_peak(device)
    settle(is_cuda)
    marks, started = Marks(device), time.perf_counter()
    tokens = case.target.to(torch.float32)
    for step in range(steps):
        marks.mark()
        velocity = run.velocity(tokens.to(case.target.dtype), step)
        marks.mark()
        tokens = tokens + (case.levels[step + 1] - case.levels[step]) * velocity.to(torch.float32)
    _decode(case, tokens, autoencoder)
    picture_s = time.perf_counter() - started
    return asdict(_told(case, marks.read_ms(), picture_s=picture_s, device=device))


def _told(case: Case, ms: list[float], *, picture_s: float, device: str) -> Picture:
    # Moments come in pairs: a step, then what lies between it and the next.
    steps, gaps = ms[0::2], ms[1::2]
    return Picture(
        tokens=case.tokens,
        steps=len(steps),
        step_ms=statistics.median(steps),
        fastest_ms=min(steps),
        slowest_ms=max(steps),
        gap_ms=max(gaps, default=0.0),
        picture_s=picture_s,
        peak_bytes=peak_bytes(device),
    )


def _decode(case: Case, tokens: Tensor, autoencoder: Autoencoder) -> Tensor:
    rows, columns = case.grid
    return to_uint8(autoencoder.decode(unpack(tokens, height=2 * rows, width=2 * columns)))
