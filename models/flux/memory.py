"""How much of a device's memory is left for requests once the weights lie on it."""

from __future__ import annotations

import torch

from models.plan import WORKING_BYTES


def request_bytes(device: str) -> int | None:
    """Return the bytes that resident requests may take; None on a CPU, whose memory is not ours to count.

    What a step and a decoding need while they run stays free beside them.
    """
    if torch.device(device).type != "cuda":
        return None
    torch.cuda.empty_cache()  # what was tried at start would count as taken
    free, _ = torch.cuda.mem_get_info(device)
    return request_bytes_of(free)


def request_bytes_of(free_bytes: int) -> int:
    """Return the bytes for requests of a device that has so many free."""
    return max(free_bytes - WORKING_BYTES, 0)
