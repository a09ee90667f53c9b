"""A device that is measured: its clock, its memory, and what it is; a CPU has the same, for tests."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable
from typing import Any

import torch


class Marks:
    """Moments of a device's own time, noted without waiting for it.

    Args:
        device: whose time it is.
    """

    def __init__(self, device: str) -> None:
        self._is_cuda = device.startswith("cuda")
        self._moments: list[Any] = []

    def mark(self) -> None:
        """Note the moment at which the device has done what it was told so far."""
        if self._is_cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch does not type it
            event.record()
            self._moments.append(event)
        else:
            self._moments.append(time.perf_counter())

    def read_ms(self) -> list[float]:
        """Wait for the device; return the milliseconds between each moment and the next."""
        settle(self._is_cuda)
        pairs = zip(self._moments[:-1], self._moments[1:], strict=True)
        if self._is_cuda:
            return [before.elapsed_time(after) for before, after in pairs]
        return [(after - before) * 1000 for before, after in pairs]


def settle(is_cuda: bool) -> None:  # noqa: FBT001 -- the only thing that it is told
    """Wait until the device has done what it was told."""
    if is_cuda:
        torch.cuda.synchronize()


def timed_ms(work: Callable[[], object], *, device: str, rounds: int) -> list[float]:
    """Do some work once unseen, then several times; return the milliseconds of each."""
    work()
    marks = Marks(device)
    marks.mark()
    for _ in range(rounds):
        work()
        marks.mark()
    return marks.read_ms()


def forget_peak(device: str) -> None:
    """Give back what nobody holds and begin to watch the memory anew."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_bytes(device: str) -> int | None:
    """Return the most bytes that were held at once since then; unknown for a CPU."""
    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else None


def facts(device: str) -> dict[str, Any]:
    """Say what a figure was measured on."""
    import diffusers  # noqa: PLC0415 -- for its version
    import transformers  # noqa: PLC0415 -- as above

    known: dict[str, Any] = {
        "device": platform.processor() or platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(0)
        known |= {
            "device": properties.name,
            "memory_gib": round(properties.total_memory / 1024**3, 1),
            "cuda": torch.version.cuda,
            "clocks": _clocks(),
        }
    return known


def _clocks() -> str:
    query = ["nvidia-smi", "--query-gpu=clocks.sm,clocks.mem,power.draw,power.limit,temperature.gpu", "--format=csv"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=False)  # noqa: S603 -- no input of others
    except OSError:
        return "unknown"
    return found.stdout.strip()
