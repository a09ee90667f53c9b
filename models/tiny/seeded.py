"""Weights drawn from a seed and a name, whatever was drawn before; knows no model.

A tensor's values hang on its own name only, so adding a layer changes no other layer, and the global random state is
neither read nor moved.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import Tensor, nn

#: Changing it changes every tiny model.
SEED = 2504_02160

Built = TypeVar("Built", bound=nn.Module)


def build(make: Callable[[], Built]) -> Built:
    """Construct a module without a trace in the global random state, and freeze it for inference."""
    with torch.random.fork_rng(devices=[]):
        module = make()
    return module.eval().requires_grad_(requires_grad=False)


def fill(module: nn.Module, *, name: str, gains: Mapping[str, float]) -> None:
    """Set every parameter: matrices random, biases 0, norm scales 1.

    Args:
        module: whose parameters are set.
        name: makes the values this module's own.
        gains: by pattern of parameter names, the first that fits counts; for a matrix the root mean square of its
            outputs for inputs of 1, for a bias or norm scale a factor on its default, 1 where nothing fits.
    """
    for key, parameter in module.named_parameters():
        gain = next((value for pattern, value in gains.items() if fnmatchcase(key, pattern)), 1.0)
        parameter.copy_(gain * _default(parameter, f"{name}.{key}"))


def _default(parameter: Tensor, name: str) -> Tensor:
    if parameter.ndim == 1:
        return torch.zeros_like(parameter) if name.endswith("bias") else torch.ones_like(parameter)
    return normal(name, *parameter.shape) / math.sqrt(parameter[0].numel())


def normal(name: str, *shape: int) -> Tensor:
    """Draw standard normal values that hang on the name alone."""
    generator = torch.Generator("cpu").manual_seed(SEED ^ zlib.crc32(name.encode()))
    return torch.randn(*shape, generator=generator, dtype=torch.float32)
