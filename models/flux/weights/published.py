"""Which published repositories hold which parts, and which of a repository's files the models need.

Source: the file lists of the four repositories on the Hugging Face hub, seen 2026-11.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from models.flux.weights import WeightsError
from models.flux.weights.folder import PLACES, parts_of
from models.flux.weights.stream import SUMS
from models.flux.weights.tokenizers import TOKENIZERS

#: Endings of the files of a tokenizer that are read, and run nothing.
TOKENIZER_ENDINGS = frozenset({".json", ".txt", ".model"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One published repository."""

    #: Its id on the hub.
    name: str
    #: Where its files go in a folder of weights.
    below: str = ""
    #: The parts that it holds.
    parts: tuple[str, ...]
    #: The tokenizers that it holds.
    tokenizers: tuple[str, ...] = ()


#: Where everything that the models need is published.
PUBLISHED = (
    Repository(
        name="black-forest-labs/FLUX.1-dev", parts=("transformer", "vae", "clip", "t5"), tokenizers=tuple(TOKENIZERS)
    ),
    Repository(name="bytedance-research/UNO", below="uno", parts=("uno",)),
    Repository(name="bytedance-research/USO", parts=("uso", "projector")),
    Repository(name="google/siglip-so400m-patch14-384", below="siglip", parts=("siglip",)),
)


def repositories(models: tuple[str, ...]) -> list[Repository]:
    """Return the repositories that hold what these models need."""
    wanted = set(parts_of(models))
    return [each for each in PUBLISHED if wanted & set(each.parts)]


def laid_out(name: str, models: tuple[str, ...]) -> Repository:
    """Describe a repository of one's own that holds everything as a folder of weights does."""
    return Repository(name=name, parts=parts_of(models), tokenizers=tuple(TOKENIZERS))


def needed(repository: Repository, names: Collection[str]) -> list[str]:
    """Choose the files of a repository that are needed, one layout of each part.

    Raises:
        WeightsError: when there is a part that it does not have.
    """
    parts = [name for part in repository.parts for name in _files_of(part, repository, names)]
    tokenizers = [name for name in names if _is_tokenizers(name, repository.tokenizers)]
    return sorted({*parts, *tokenizers} | ({SUMS} & set(names)))


def _files_of(part: str, repository: Repository, names: Collection[str]) -> Iterator[str]:
    for place in _places(part, repository.below):
        index = f"{place}.index.json"
        if index in names:
            shards = f"{place.removesuffix('.safetensors')}-?????-of-?????.safetensors"
            yield index
            yield from (name for name in names if fnmatchcase(name, shards))
            return
        if place in names:
            yield place
            return
    raise WeightsError(f"{repository.name} has no {' or '.join(_places(part, repository.below))}")


def _places(part: str, below: str) -> list[str]:
    places = [PurePosixPath(place) for place in PLACES[part]]
    return [str(place.relative_to(below)) for place in places if place.is_relative_to(below)]


def _is_tokenizers(name: str, tokenizers: Collection[str]) -> bool:
    path = PurePosixPath(name)
    return str(path.parent) in tokenizers and path.suffix in TOKENIZER_ENDINGS
