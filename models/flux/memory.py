"""How much of a device's memory is left for requests once the weights lie on it."""

from __future__ import annotations

import torch


def free_bytes(device: str) -> int | None:
    """Return the bytes of a device that nothing has taken; None on a CPU, whose memory is not ours to count."""
    if torch.device(device).type != "cuda":
        return None
    torch.cuda.empty_cache()  # what was tried at start would count as taken
    free, _ = torch.cuda.mem_get_info(device)
    return int(free)
