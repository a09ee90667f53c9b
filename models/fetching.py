"""Brings what ``UXO_WEIGHTS`` and ``UXO_SAFETY_MODEL`` may name to this machine; an operator's command, never a server.

A hub id is brought into the machine's cache, where servers look for it; a folder is filled from the repositories in
which the parts are published. Imports nothing heavy by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.hub import hub_id_of
from models.loading import TINY, record, recorded

if TYPE_CHECKING:
    from models.hub_files import Hub

#: The record of digests beside a folder's files.
SUMS = "SHA256SUMS"


class NotFetched(ValueError):
    """Something could not be brought; says what, and what to do."""


def open_hub() -> Hub:
    """Open the hub that the client is set up for.

    Raises:
        NotFetched: when its client is not installed.
    """
    try:
        hub: Hub = import_module("models.hub_files").Hub()
    except ImportError as error:
        raise NotFetched("huggingface_hub is not installed here; the engine's packages have it") from error
    return hub


def fetch_weights(
    weights: str, models: tuple[str, ...], *, hub: Hub, pins: Mapping[str, str], say: Callable[[str], None]
) -> Path:
    """Bring the files that these models need, each of them checked; their digests are recorded beside them.

    Args:
        weights: a hub id, or a folder, which need not be there yet.
        models: which models.
        hub: where from.
        pins: the revisions to take, by hub id; the main branch where none is said.
        say: hears what is done, a sentence each.

    Returns:
        The folder that holds them.

    Raises:
        NotFetched: when a file cannot be brought or is not what it should be.
    """
    if weights == TINY:
        raise NotFetched(f"{TINY} weights are made on the spot; name a folder or a hub id")
    published: Any = import_module("models.flux.weights.published")
    own = hub_id_of(weights)
    if own is not None:
        name, revision = own
        return _fetch(published.laid_out(name, models), hub=hub, pins={name: revision}, folder=None, say=say)
    repositories = published.repositories(models)
    if unknown := sorted(pins.keys() - {each.name for each in repositories}):
        raise NotFetched(f"nothing is fetched from {unknown[0]}; from: {', '.join(each.name for each in repositories)}")
    for each in repositories:
        _fetch(each, hub=hub, pins=pins, folder=Path(weights), say=say)
    return Path(weights)


def fetch_classifier(model: str, *, hub: Hub, say: Callable[[str], None]) -> None:
    """Bring an image classifier into the machine's cache.

    Args:
        model: a hub id.
        hub: where from.
        say: hears what is done, a sentence each.

    Raises:
        NotFetched: when a file cannot be brought or is not what it should be.
    """
    own = hub_id_of(model)
    if own is None:
        raise NotFetched(f"{model!r} is no hub id")
    with _told():
        listing = hub.look(*own)
        names = [name for name in listing.files if "/" not in name and name.endswith((".json", ".safetensors"))]
        hub.fetch(listing, names, into=None, say=say)


def _fetch(
    repository: Any, *, hub: Hub, pins: Mapping[str, str | None], folder: Path | None, say: Callable[[str], None]
) -> Path:
    """Bring what is needed of one repository into a folder of weights, or into the cache; return the folder."""
    with _told():
        listing = hub.look(repository.name, pins.get(repository.name))
        names = import_module("models.flux.weights.published").needed(repository, listing.files)
        digests = hub.fetch(listing, names, into=folder and folder / repository.below, say=say)
        place = folder or next(path for path in next(iter(digests)).parents if path.name == listing.commit)
        _check_sums(place, digests)
        if folder is not None or SUMS not in names:  # a record that came along is not ours to write in
            record(place, {path: digest for path, digest in digests.items() if path.name != SUMS})
    return place


def _check_sums(folder: Path, digests: Mapping[Path, str]) -> None:
    stream, sums = import_module("models.flux.weights.stream"), recorded(folder)
    for path, digest in digests.items():
        stream.check_sum(sums, path.relative_to(folder).as_posix(), digest)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what may go wrong into a sentence for the operator."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise NotFetched(str(error)) from error
