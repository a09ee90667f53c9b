"""Reading weight files so that no tensor is lost unnoticed; knows no model's layout and no format but safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import safetensors
import safetensors.torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

#: Keys of one complaint; a file of another model has hundreds of strangers.
KEYS_SHOWN = 4
#: Letters of one key in a complaint; released ones have some 60, a hostile one has millions.
LETTERS_SHOWN = 100


class WeightsError(ValueError):
    """The weights do not fit: a tensor is unknown, missing, doubled or of the wrong shape."""


def read(*paths: Path) -> dict[str, Tensor]:
    """Read one checkpoint, which may be cut into several safetensors files.

    Raises:
        WeightsError: when a file is not safetensors or a key stands in two of them.
    """
    tensors: dict[str, Tensor] = {}
    for path in paths:
        part = _read_file(path)
        if doubled := tensors.keys() & part.keys():
            raise WeightsError(f"{path.name} repeats {listed(doubled)}")
        tensors |= part
    return tensors


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path.name} is not a readable safetensors file: {error}") from error


def check_exactly(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Require exactly these keys with exactly these shapes.

    Raises:
        WeightsError: naming the first keys that are unknown, missing or wrongly shaped.
    """
    if unknown := tensors.keys() - shapes.keys():
        raise WeightsError(f"unknown tensors: {listed(unknown)}")
    if missing := shapes.keys() - tensors.keys():
        raise WeightsError(f"missing tensors: {listed(missing)}")
    for key, shape in shapes.items():
        if tuple(tensors[key].shape) != tuple(shape):
            raise WeightsError(f"{key} is {tuple(tensors[key].shape)}, expected {tuple(shape)}")


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy a state into a module, every tensor of both accounted for; values are cast to the module's dtypes.

    Raises:
        WeightsError: as ``check_exactly``; the module is then unchanged.
    """
    check_exactly(tensors, {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()})
    module.load_state_dict(tensors)


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Drop ``prefix`` from the keys that carry it.

    Both spellings of one key are a contradiction, not a choice.

    Raises:
        WeightsError: when a key stands there with and without the prefix.
    """
    shortened: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key.removeprefix(prefix)
        if name in shortened:
            raise WeightsError(f"doubled tensors: {name} stands there with and without {prefix!r}")
        shortened[name] = tensor
    return shortened


def listed(keys: Iterable[str]) -> str:
    """Name the first few keys and count the rest."""
    ordered = sorted(keys)
    rest = len(ordered) - KEYS_SHOWN
    return ", ".join(map(shortened, ordered[:KEYS_SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def shortened(text: str) -> str:
    """Return a stranger's text as far as a complaint has room for it, what no terminal can write spelled out."""
    cut = text if len(text) <= LETTERS_SHOWN else f"{text[:LETTERS_SHOWN]}…"
    return cut.encode("utf-8", "backslashreplace").decode()
