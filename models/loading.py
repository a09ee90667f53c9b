"""From catalog entries to pipelines that are ready to step.

Imports nothing heavy by itself: torch arrives with the first ``load_pipelines``, inside a replica.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from models.hub import NotFoundHere, find_folder
from models.options import SpeedOptions
from models.plan import WORKING_BYTES

if TYPE_CHECKING:
    from models.catalog import ModelSpec
    from models.flux.weights.accounts import PartReport
    from models.pipeline import ComparingPipeline
    from models.safety import Checker

#: The value of ``UXO_WEIGHTS`` that stands for small random weights made on the spot.
TINY = "tiny"


class UnusableWeights(ValueError):
    """The weights that ``UXO_WEIGHTS`` names cannot be loaded; says what is wrong with them."""


class UnusableSafetyModel(ValueError):
    """What ``UXO_SAFETY_MODEL`` names cannot check pictures; says what is wrong with it."""


def load_pipelines(
    specs: Sequence[ModelSpec],
    *,
    weights: str,
    device: str,
    options: SpeedOptions | None = None,
    read: Callable[[str, str], None] = lambda _file, _digest: None,
    encoded: Callable[[str, bool], None] = lambda _kind, _is_hit: None,
) -> dict[str, ComparingPipeline]:
    """Build the pipelines of the models that share a device, by name; released weights lie there once.

    Args:
        specs: which models.
        weights: ``tiny``, a folder that holds the weights, or a hub id whose files are in this machine's cache.
        device: a torch device name.
        options: what was chosen about speed; the usual choices when None.
        read: hears the path and the SHA-256 of every file that was read.
        encoded: hears the kind of everything that has to be encoded, and whether it was remembered.

    Raises:
        UnusableWeights: when a file is missing, broken, or another one than it should be.
        UnusableChoice: when the device cannot do what was chosen.
    """
    names = [spec.name for spec in specs]
    components: Mapping[str, Any]
    if weights == TINY:
        tiny = import_module("models.tiny")
        components = {name: tiny.components(name, device=device) for name in names}
    else:
        components = _released(find_weights(weights), names, device=device, read=read)
    import_module("models.flux.speed").apply(components.values(), options or SpeedOptions())
    for parts in components.values():
        parts.encodings.hear = encoded
    return {spec.name: resolve_name(spec.pipeline)(components[spec.name]) for spec in specs}


def free_bytes(device: str) -> int | None:
    """Return the bytes of a device, weights loaded, that are free; None where nobody counts them."""
    found: int | None = import_module("models.flux.memory").free_bytes(device)
    return found


def resident_bytes_of(free: int | None) -> int | None:
    """Return the bytes that resident requests may take of so many free ones; None where nothing bounds them.

    What a step and a decoding need while they run stays free beside them.
    """
    return None if free is None else max(free - WORKING_BYTES, 0)


def load_pipeline(spec: ModelSpec, *, weights: str, device: str) -> ComparingPipeline:
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
    try:
        return find_folder(weights)
    except NotFoundHere as error:
        reason = str(error).replace("write ", f"write {TINY}, ", 1)
        raise UnusableWeights(f"UXO_WEIGHTS={weights!r} cannot be used: {reason}") from error


def load_checker(
    model: str,
    *,
    labels: Sequence[str],
    threshold: float,
    read: Callable[[str, str], None] = lambda _file, _digest: None,
) -> Checker:
    """Load what says whether pictures should not be shown.

    Args:
        model: a folder that holds an image classifier, or a hub id whose files are in this machine's cache.
        labels: names of its classes that should not be shown.
        threshold: from which probability on a picture is flagged, in (0, 1].
        read: hears the path and the SHA-256 of every file of weights.

    Raises:
        UnusableSafetyModel: when it is not there, broken, or has no such classes.
    """
    try:
        folder = find_folder(model)
        load: Any = import_module("models.safety").load_checker
        checker: Checker = load(folder, labels=labels, threshold=threshold, read=read)
    except ValueError as error:
        raise UnusableSafetyModel(f"UXO_SAFETY_MODEL={model!r} cannot be used: {error}") from error
    return checker


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


def unrecorded(weights: str, files: Iterable[str]) -> list[str]:
    """Return those files, by path in the folder that ``weights`` stands for, in which nobody would see a changed byte.

    Raises:
        UnusableWeights: when ``SHA256SUMS`` cannot be read, or there is no such folder.
    """
    return [] if weights == TINY else sorted(set(files) - recorded(find_weights(weights)).keys())


def record(folder: Path, digests: Mapping[Path, str]) -> None:
    """Add digests to the folder's ``SHA256SUMS``; those of files that are not named stay.

    Raises:
        UnusableWeights: when it cannot be read.
    """
    sums = {path.relative_to(folder).as_posix(): digest for path, digest in digests.items()}
    import_module("models.flux.weights.stream").write_sums(folder, recorded(folder) | sums)


def _released(
    folder: Path, models: Sequence[str], *, device: str, read: Callable[[str, str], None]
) -> Mapping[str, Any]:
    weights, released = import_module("models.flux.weights"), import_module("models.flux.weights.released")
    try:
        found: Mapping[str, Any] = released.Released(folder, device=device, read=read).components(models)
    except weights.WeightsError as error:
        raise UnusableWeights(f"UXO_WEIGHTS={str(folder)!r} cannot be loaded: {error}") from error
    return found
