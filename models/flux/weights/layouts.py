"""What each released file has to hold, and where its tensors go; shapes come from networks on the meta device.

A layout is a list of names and shapes and a rule that turns one tensor of a file into tensors of a network. Knows no
folder and reads nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn

from models.flux.bfl import bfl_shapes, cut_rows, cuts
from models.flux.lora import lora_shapes
from models.flux.siglip import TEXT_SIDE
from models.flux.vae import as_linear, bfl_names
from models.flux.weights.networks import RELEASED, Sizes, make

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
#: Turns a file's tensor, by its name, into tensors of the network, by theirs.
Place: TypeAlias = Callable[[str, Tensor], Mapping[str, Tensor]]

#: T5's second name for the table of its tokens.
TIED = "encoder.embed_tokens.weight"
#: How much of a layout has to be there for a file to be called by it.
ALIKE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a file holds and where it goes."""

    #: The names and shapes that it has to hold, all of them.
    shapes: Shapes
    #: Where each goes.
    place: Place
    #: How the names of what else it may hold begin: known, and needed by nobody here.
    spare: tuple[str, ...] = ()


class Layouts:
    """The layouts of all parts at given sizes; each is made when it is first asked for."""

    def __init__(self, sizes: Sizes = RELEASED) -> None:
        self.sizes = sizes
        self._layouts: dict[tuple[str, str], Layout] = {}

    def of(self, part: str, layout: str) -> Layout:
        """Return a layout of a part.

        Raises:
            KeyError: when there is none.
        """
        key = (part, layout)
        if key not in self._layouts:
            self._layouts[key] = _MAKERS[key](make(part, self.sizes), self.sizes)
        return self._layouts[key]

    def recognise(self, names: Collection[str]) -> str | None:
        """Say which part's tensors these are, if they are any's."""
        shares = {key: _share(names, self.of(*key).shapes) for key in _MAKERS}
        part, layout = max(shares, key=lambda key: shares[key])
        return f"{part} ({layout})" if shares[part, layout] > ALIKE else None


def _share(names: Collection[str], shapes: Shapes) -> float:
    return len(shapes.keys() & set(names)) / max(len(shapes), len(names))


def _as_it_is(name: str, tensor: Tensor) -> dict[str, Tensor]:
    return {name: tensor}


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _plain(network: nn.Module, _sizes: Sizes) -> Layout:
    return Layout(shapes=_shapes(network), place=_as_it_is)


def _t5(network: nn.Module, _sizes: Sizes) -> Layout:
    shapes = {name: shape for name, shape in _shapes(network).items() if name != TIED}
    return Layout(shapes=shapes, place=_as_it_is, spare=(TIED,))


def _clip(network: nn.Module, _sizes: Sizes) -> Layout:
    return _below(network, "text_model.", spare=("text_model.embeddings.position_ids",))


def _siglip(network: nn.Module, _sizes: Sizes) -> Layout:
    return _below(network, "vision_model.", spare=(*TEXT_SIDE, "vision_model.embeddings.position_ids"))


def _below(network: nn.Module, prefix: str, *, spare: tuple[str, ...]) -> Layout:
    def place(name: str, tensor: Tensor) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor}

    shapes = {prefix + name: shape for name, shape in _shapes(network).items()}
    return Layout(shapes=shapes, place=place, spare=spare)


def _bfl_transformer(network: Any, _sizes: Sizes) -> Layout:
    targets, parts = _shapes(network), dict(cuts(network.config))

    def place(name: str, tensor: Tensor) -> dict[str, Tensor]:
        return cut_rows(name, tensor, {target: targets[target][0] for target in parts[name]})

    return Layout(shapes=bfl_shapes(network), place=place)


def _bfl_autoencoder(network: Any, _sizes: Sizes) -> Layout:
    names = bfl_names(network)
    keys = {name: key for key, name in names.items()}

    def place(name: str, tensor: Tensor) -> dict[str, Tensor]:
        return {keys[name]: as_linear(keys[name], tensor)}

    shapes = {names[key]: _as_convolution(key, shape) for key, shape in _shapes(network).items()}
    return Layout(shapes=shapes, place=place)


def _as_convolution(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1) if "attentions" in key and len(shape) == 2 else shape


def _lora_of(model: str) -> Callable[[Any, Sizes], Layout]:
    def lora(network: Any, sizes: Sizes) -> Layout:
        ranks = defaultdict[str, int](lambda: sizes.ranks[model])
        return Layout(shapes=lora_shapes(network, ranks), place=_as_it_is)

    return lora


_MAKERS: Mapping[tuple[str, str], Callable[[Any, Sizes], Layout]] = {
    ("transformer", "diffusers"): _plain,
    ("transformer", "bfl"): _bfl_transformer,
    ("vae", "diffusers"): _plain,
    ("vae", "bfl"): _bfl_autoencoder,
    ("clip", "transformers"): _clip,
    ("t5", "transformers"): _t5,
    ("uno", "lora"): _lora_of("uno"),
    ("uso", "lora"): _lora_of("uso"),
    ("projector", "projector"): _plain,
    ("siglip", "transformers"): _siglip,
}
