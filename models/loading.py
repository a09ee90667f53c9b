"""From catalog entries to pipelines that are ready to step.

Imports nothing heavy by itself: torch arrives with the first ``load_pipelines``, inside a replica.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.catalog import ModelSpec
    from models.flux.weights.accounts import PartReport
    from models.pipeline import Pipeline

#: The value of ``UXO_WEIGHTS`` that stands for small random weights made on the spot.
TINY = "tiny"
#: A repository of the Hugging Face hub.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


class UnusableWeights(ValueError):
    """The weights that ``UXO_WEIGHTS`` names cannot be loaded; says what is wrong with them."""


def load_pipelines(
    specs: Sequence[ModelSpec],
    *,
    weights: str,
    device: str,
    read: Callable[[str, str], None] = lambda _file, _digest: None,
) -> dict[str, Pipeline]:
    """Build the pipelines of the models that share a device, by name; released weights lie there once.

    Args:
        specs: which models.
        weights: ``tiny``, a folder that holds the weights, or a hub id whose files are in this machine's cache.
        device: a torch device name.
        read: hears the path and the SHA-256 of every file that was read.

    Raises:
        UnusableWeights: when a file is missing, broken, or another one than it should be.
    """
    names = [spec.name for spec in specs]
    components: Mapping[str, object]
    if weights == TINY:
        tiny = import_module("models.tiny")
        components = {name: tiny.components(name, device=device) for name in names}
    else:
        components = _released(find_weights(weights), names, device=device, read=read)
    return {spec.name: resolve_name(spec.pipeline)(components[spec.name]) for spec in specs}


def load_pipeline(spec: ModelSpec, *, weights: str, device: str) -> Pipeline:
    """Build one model's pipeline, as ``load_pipelines`` does.

    Raises:
        UnusableWeights: for weights that cannot be loaded.
    """
    return load_pipelines([spec], weights=weights, device=device)[spec.name]


def find_weights(weights: str) -> Path:
    """Return the folder that a value of ``UXO_WEIGHTS`` other than ``tiny`` stands for; nothing is downloaded.

    Raises:
        UnusableWeights: when there is none.
    """
    if weights and Path(weights).is_dir():
        return Path(weights)
    if HUB_ID.fullmatch(weights):
        return _cached(weights)
    raise UnusableWeights(f"UXO_WEIGHTS={weights!r} cannot be used: write {TINY}, a folder that is there, or a hub id")


def _cached(hub_id: str) -> Path:
    try:
        hub = import_module("huggingface_hub")
    except ImportError as error:
        raise UnusableWeights(
            f"UXO_WEIGHTS={hub_id!r} cannot be used: huggingface_hub is not installed; name a folder"
        ) from error
    try:
        return Path(hub.snapshot_download(hub_id, local_files_only=True))
    except (OSError, ValueError) as error:
        raise UnusableWeights(
            f"UXO_WEIGHTS={hub_id!r} cannot be used: it is no folder, and not in this machine's Hugging Face cache; "
            f"nothing is downloaded by a server, so fetch it first"
        ) from error


def account_for(folder: Path, models: tuple[str, ...]) -> list[PartReport]:
    """Say of every part that these models need what is there and what is wrong, from the files' headers."""
    layouts = import_module("models.flux.weights.layouts").Layouts()
    reports: list[PartReport] = import_module("models.flux.weights.accounts").check_folder(folder, models, layouts)
    return reports


def hash_file(path: Path, *, progress: Callable[[int], object]) -> str:
    """Return the SHA-256 of a file; ``progress`` hears how many bytes were read since it last did."""
    digest: str = import_module("models.flux.weights.stream").digest_of(path, progress=progress)
    return digest


def recorded(folder: Path) -> dict[str, str]:
    """Return the digests that the folder's ``SHA256SUMS`` holds, by path in the folder.

    Raises:
        UnusableWeights: when it cannot be read.
    """
    weights, reading = import_module("models.flux.weights"), import_module("models.flux.weights.stream")
    try:
        sums: dict[str, str] = reading.read_sums(folder)
    except weights.WeightsError as error:
        raise UnusableWeights(str(error)) from error
    return sums


def record(folder: Path, digests: Mapping[Path, str]) -> None:
    """Write ``SHA256SUMS`` into the folder."""
    sums = {path.relative_to(folder).as_posix(): digest for path, digest in digests.items()}
    import_module("models.flux.weights.stream").write_sums(folder, sums)


def _released(
    folder: Path, models: Sequence[str], *, device: str, read: Callable[[str, str], None]
) -> Mapping[str, object]:
    weights, released = import_module("models.flux.weights"), import_module("models.flux.weights.released")
    try:
        found: Mapping[str, object] = released.Released(folder, device=device, read=read).components(models)
    except weights.WeightsError as error:
        raise UnusableWeights(f"UXO_WEIGHTS={str(folder)!r} cannot be loaded: {error}") from error
    return found
