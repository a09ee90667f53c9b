"""Where the files of each part lie in a folder of weights, cut into shards or not; reads names, never values.

transformer/ vae/ text_encoder/ text_encoder_2/ tokenizer/ tokenizer_2/    as FLUX.1-dev is published for diffusers
flux1-dev.safetensors ae.safetensors                                       or as Black Forest Labs' own two files
uno/ uso/ siglip/                                                          what the two models add
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.flux.weights import WeightsError, listed, shortened
from models.flux.weights.headers import TensorEntry, read_header
from models.flux.weights.json_file import read_json

#: Which layout a file of each part has, by where it may lie; the first that is there counts.
PLACES: Mapping[str, Mapping[str, str]] = {
    "transformer": {
        "transformer/diffusion_pytorch_model.safetensors": "diffusers",
        "flux1-dev.safetensors": "bfl",
        "transformer/flux1-dev.safetensors": "bfl",
    },
    "vae": {
        "vae/diffusion_pytorch_model.safetensors": "diffusers",
        "ae.safetensors": "bfl",
        "vae/ae.safetensors": "bfl",
    },
    "clip": {"text_encoder/model.safetensors": "transformers"},
    "t5": {"text_encoder_2/model.safetensors": "transformers"},
    "uno": {"uno/dit_lora.safetensors": "lora"},
    "uso": {"uso/dit_lora.safetensors": "lora", "uso_flux_v1.0/dit_lora.safetensors": "lora"},
    "projector": {
        "uso/projector.safetensors": "projector",
        "uso_flux_v1.0/projector.safetensors": "projector",
    },
    "siglip": {"siglip/model.safetensors": "transformers"},
}
#: What each model needs.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "uno": ("transformer", "vae", "clip", "t5", "uno"),
    "uso": ("transformer", "vae", "clip", "t5", "uso", "projector", "siglip"),
}
#: Endings of files that run code when they are read.
PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
#: Longest name of a file, in letters; file systems give up at as many bytes.
MAX_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The files of one part."""

    #: Which part, as ``PLACES`` has it.
    part: str
    #: Which layout their keys have.
    layout: str
    #: The files, in order.
    paths: tuple[Path, ...]
    #: Every tensor of every file.
    entries: tuple[TensorEntry, ...]


def parts_of(models: tuple[str, ...]) -> tuple[str, ...]:
    """Name the parts that these models need, each once."""
    return tuple(dict.fromkeys(part for model in models for part in NEEDS[model]))


def find(folder: Path, part: str) -> Found:
    """Find one part and read the headers of its files.

    Raises:
        WeightsError: when it is not there, is a pickle, or its shards are not what their index says.
    """
    for place, layout in PLACES[part].items():
        path = folder / place
        index = path.with_name(f"{path.name}.index.json")
        if index.is_file():
            return _found(part, layout, _sharded(index))
        if path.is_file():
            return _found(part, layout, {path: read_header(path)})
    raise WeightsError(_absent(folder, part))


def _found(part: str, layout: str, files: Mapping[Path, list[TensorEntry]]) -> Found:
    entries = tuple(entry for each in files.values() for entry in each)
    return Found(part=part, layout=layout, paths=tuple(files), entries=entries)


def _sharded(index: Path) -> dict[Path, list[TensorEntry]]:
    places = read_index(index)
    files = {index.with_name(name): read_header(index.with_name(name)) for name in sorted(set(places.values()))}
    there = {(entry.name, path.name) for path, entries in files.items() for entry in entries}
    if missing := set(places.items()) - there:
        name, file = min(missing)
        raise WeightsError(f"{file} lacks {shortened(name)}, which {index.name} says lies there ({len(missing)} such)")
    if strange := there - set(places.items()):
        names = {name for name, _ in strange}
        raise WeightsError(f"{min(strange)[1]} holds what {index.name} does not have there: {listed(names)}")
    return files


def read_index(index: Path) -> dict[str, str]:
    """Return the file of each tensor, as an index of shards has it; each lies beside the index.

    Raises:
        WeightsError: when it is no index, or names what is not there, lies elsewhere, or is no safetensors file.
    """
    written = read_json(index, wanted="index of shards")
    try:
        places = written["weight_map"]
        shards = {str(name): str(file) for name, file in places.items()}
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{index.name} is no index of shards: {type(error).__name__}") from error
    for file in shards.values():
        # An index is a stranger's text: it must not lead out of its folder, nor to code.
        if Path(file).name != file or not file.endswith(".safetensors") or len(file) > MAX_NAME:
            raise WeightsError(f"{index.name} names {shortened(file)!r}; shards are safetensors files beside it")
    for file in sorted(set(shards.values())):
        if not index.with_name(file).is_file():
            raise WeightsError(f"{file} is missing, {index.name} names it")
    return shards


def _absent(folder: Path, part: str) -> str:
    wanted = " or ".join(PLACES[part])
    for path in _pickles(folder, part):
        return f"{path.relative_to(folder)} is a pickle, which can run code; only safetensors are read: {wanted}"
    return f"missing: {wanted}"


def _pickles(folder: Path, part: str) -> Iterator[Path]:
    for place in PLACES[part]:
        parent, stem = (folder / place).parent, Path(place).stem
        for path in sorted(parent.glob("*")):
            if path.suffix in PICKLES and (parent != folder or path.stem == stem):
                yield path
