"""What torch raises when a device is in trouble, in the engine's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from traceback import clear_frames

import torch
from torch import Tensor

from models.pipeline import DeviceBroken, NotFinite, OutOfMemory


@contextmanager
def device_faults(forget: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Tell apart what a smaller group may mend, what nothing will, and all else, which goes through as it is.

    Args:
        forget: lets go of what is kept on the device for later and can be made again.

    Raises:
        OutOfMemory: with all memory given back that the failed call, ``forget`` and torch held, so that another try has
            all there is.
        DeviceBroken: for what CUDA says of itself; after that every call fails, whatever it is asked.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        clear_frames(error.__traceback__)  # or the error keeps alive what the call had made so far
        forget()
        torch.cuda.empty_cache()  # nothing to do without CUDA
        raise OutOfMemory(str(error)) from error
    except torch.AcceleratorError as error:
        raise DeviceBroken(str(error)) from error


def check_finite(tokens: Sequence[Tensor]) -> None:
    """Refuse latents with infinities or what is no number; waits for the device, once for all of them.

    Raises:
        NotFinite: when there are any.
    """
    if not torch.stack([each.isfinite().all() for each in tokens]).all():
        raise NotFinite("latents are not finite")
