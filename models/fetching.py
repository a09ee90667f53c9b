"""Brings what ``UXO_WEIGHTS`` and ``UXO_SAFETY_MODEL`` may name to this machine; an operator's command, never a server.

A hub id is brought into the machine's cache, where servers look for it; a folder is filled from the repositories in
which the parts are published. Imports nothing heavy by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from models.hub import hub_id_of
from models.loading import TINY, hash_file, record, recorded

if TYPE_CHECKING:
    from models.hub_files import Hub, HubFile, Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is to come from one repository into a folder of weights."""

    #: Where its files go in the folder.
    below: PurePosixPath
    #: The version that they are taken from.
    listing: Listing
    #: Which of its files.
    names: Sequence[str]


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
        pins: the revisions to take of the published repositories, by hub id; the main branch where none is said.
        say: hears what is done, a sentence each.

    Returns:
        The folder that holds them.

    Raises:
        NotFetched: when a file cannot be brought or is not what it should be.
    """
    if weights == TINY:
        raise NotFetched(f"{TINY} weights are made on the spot; name a folder or a hub id")
    own = hub_id_of(weights)
    if own is None:
        return _fill(Path(weights), models, hub=hub, pins=pins, say=say)
    if pins:
        raise NotFetched("a repository of one's own is pinned in its name: owner/name@revision")
    return _keep(own, models, hub=hub, say=say)


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


def _fill(
    folder: Path, models: tuple[str, ...], *, hub: Hub, pins: Mapping[str, str], say: Callable[[str], None]
) -> Path:
    """Fill a folder from where the parts are published, once what is listed is what the folder records."""
    repositories = import_module("models.flux.weights.published").repositories(models)
    if unknown := sorted(pins.keys() - {each.name for each in repositories}):
        raise NotFetched(f"nothing is fetched from {unknown[0]}; from: {', '.join(each.name for each in repositories)}")
    with _told():
        orders = [_order(each, hub.look(each.name, pins.get(each.name))) for each in repositories]
        _check_record(folder, orders)
        for order in orders:
            digests = hub.fetch(order.listing, order.names, into=folder / order.below, say=say)
            _check_sums(folder, digests)
            record(folder, digests)
    return folder


def _order(repository: Any, listing: Listing) -> _Order:
    names = import_module("models.flux.weights.published").needed(repository, listing.files)
    sums = import_module("models.flux.weights.stream").SUMS  # the folder's own record is no repository's to write
    return _Order(
        below=PurePosixPath(repository.below), listing=listing, names=[name for name in names if name != sums]
    )


def _check_record(folder: Path, orders: Sequence[_Order]) -> None:
    """Refuse, before a byte is brought, what is not the file that the folder records."""
    sums = recorded(folder)
    try:
        for order in orders:
            for name in order.names:
                _check_listed(folder, (order.below / name).as_posix(), order.listing.files[name], sums)
    except ValueError as error:
        raise NotFetched(f"{error}; nothing was changed: pin the revision that was recorded") from error


def _check_listed(folder: Path, place: str, listed: HubFile, sums: Mapping[str, str]) -> None:
    stream, path = import_module("models.flux.weights.stream"), folder / place
    if listed.sha256 is not None:
        stream.check_sum(sums, place, listed.sha256)
    elif place in sums and path.is_file():  # a small one, of which the hub lists no SHA-256: what is here is compared
        digest = hash_file(path, progress=lambda _size: None)
        if digest == sums[place] and not listed.is_at(path, digest):
            raise NotFetched(f"{place} is not the file that {stream.SUMS} records: the hub has another one")


def _keep(own: tuple[str, str | None], models: tuple[str, ...], *, hub: Hub, say: Callable[[str], None]) -> Path:
    """Bring a repository that is laid out as a folder of weights into the machine's cache; return where it lies."""
    published, sums = import_module("models.flux.weights.published"), import_module("models.flux.weights.stream").SUMS
    with _told():
        listing = hub.look(*own)
        names = published.needed(published.laid_out(listing.repository, models), listing.files)
        digests = hub.fetch(listing, names, into=None, say=say)
        place = next(path for path in next(iter(digests)).parents if path.name == listing.commit)
        _check_sums(place, digests)
        if sums not in names:  # a record that came along is not ours to write in
            record(place, digests)
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
