"""Whether a picture should not be shown, by any image classifier that transformers knows.

Loaded once from a folder on this machine, strictly: safetensors alone, every tensor accounted for, every file held
against the recorded digests, no code of the folder's own and nothing from beyond it. Computes on the CPU, so that a
check never stands in the way of a step. Knows no setting and no thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.utils.logging import disable_progress_bar

from models.flux.weights import WeightsError, listed, shortened
from models.flux.weights.folder import read_index
from models.flux.weights.headers import read_header
from models.flux.weights.json_file import read_json
from models.flux.weights.stream import SUMS, check_sum, digest_of, read_sums

if TYPE_CHECKING:
    from torch import Tensor

#: Sides of the picture that is looked at before the first real one, in pixels.
TRIAL_SIDE = 64
#: The file by which transformers takes a folder for an adapter, and its weights from where that says.
ADAPTER = "adapter_config.json"
# Typed by nobody.
_PREPARING: Any = AutoImageProcessor
#: What transformers says of tensors that a file lacks, has too many of, or has in another shape.
_ACCOUNTS = {"missing_keys": "missing", "unexpected_keys": "unknown", "mismatched_keys": "wrongly shaped"}


class UnusableChecker(ValueError):
    """The safety checker cannot be loaded or gives no verdict; says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A classifier, and from when on its verdict counts."""

    #: The classifier, in float32 on the CPU.
    network: Any
    #: Turns pictures into what it takes.
    prepare: Callable[..., Mapping[str, Tensor]]
    #: Numbers of the classes that should not be shown.
    unsafe: tuple[int, ...]
    #: From which probability on a picture is flagged, in (0, 1].
    threshold: float

    def is_unsafe(self, image: Image.Image) -> bool:
        """Say whether an RGB picture should not be shown.

        Raises:
            UnusableChecker: when the classifier answers with something that is no number.
        """
        return self.probability(image) >= self.threshold

    def probability(self, image: Image.Image) -> float:
        """Return how likely it is that a picture should not be shown, in [0, 1].

        Classes that exclude one another are added up; of those that do not, the likeliest counts.

        Raises:
            UnusableChecker: as ``is_unsafe``.
        """
        with torch.inference_mode():
            logits = self.network(**self.prepare(images=image, return_tensors="pt")).logits[0]
        if not bool(torch.isfinite(logits).all()):
            raise UnusableChecker("the safety checker answered with numbers that are none")
        unsafe = list(self.unsafe)
        if self._is_exclusive:
            return float(logits.softmax(dim=-1)[unsafe].sum())
        return float(logits.sigmoid()[unsafe].max())

    @property
    def _is_exclusive(self) -> bool:
        config = self.network.config
        return bool(config.num_labels > 1 and config.problem_type != "multi_label_classification")


def load_checker(
    folder: Path, *, labels: Collection[str], threshold: float, read: Callable[[str, str], None]
) -> Checker:
    """Load a classifier and try it once.

    Args:
        folder: as transformers saves one: ``config.json``, ``preprocessor_config.json``, safetensors.
        labels: names of its classes that should not be shown, in small or capital letters.
        threshold: from which probability on a picture is flagged, in (0, 1].
        read: hears the path and the SHA-256 of every file of the folder.

    Raises:
        UnusableChecker: naming what is missing, broken or unknown.
    """
    try:
        _check_files(folder, read)
        network = _network(folder)
        prepare = _PREPARING.from_pretrained(folder, local_files_only=True, trust_remote_code=False, backend="pil")
        unsafe = _numbers(network.config.id2label, labels)
    except UnusableChecker:
        raise
    except Exception as error:  # whatever transformers raises of what it cannot read
        raise UnusableChecker(f"it cannot be loaded: {error}") from error
    checker = Checker(network=network, prepare=prepare, unsafe=unsafe, threshold=threshold)
    _try(checker)
    return checker


def _check_files(folder: Path, read: Callable[[str, str], None]) -> None:
    sums = read_sums(folder)
    _check_stays_inside(folder)
    # What classes are called and how pictures are prepared decides as much as the weights.
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS):
        if path.suffix == ".safetensors":
            read_header(path)  # says of a broken file what is wrong with it
        digest = digest_of(path, progress=lambda _size: None)
        check_sum(sums, path.name, digest)
        read(path.name, digest)


def _check_stays_inside(folder: Path) -> None:
    """Refuse what would have transformers read files that nobody hashes."""
    if (folder / ADAPTER).exists():
        raise WeightsError(f"{ADAPTER} makes it an adapter of another model; name a whole classifier")
    config = read_json(folder / "config.json", wanted="configuration of a classifier")
    named = config.get("transformers_weights") if isinstance(config, dict) else None
    if named is not None and (Path(str(named)).name != named or ".safetensors" not in Path(named).suffixes):
        raise WeightsError(f"config.json names {shortened(str(named))!r}; weights are safetensors files beside it")
    for index in sorted(folder.glob("*.safetensors.index.json")):
        read_index(index)


def _network(folder: Path) -> Any:
    disable_progress_bar()  # type: ignore[no-untyped-call]  # typed by nobody; a bar would stand between lines of a log
    network, accounts = AutoModelForImageClassification.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        dtype=torch.float32,
    )
    # transformers itself would go on with random numbers in the place of what is missing, and only warn.
    for name, word in _ACCOUNTS.items():
        if tensors := accounts.get(name):
            raise WeightsError(f"{word} tensors: {listed(map(str, tensors))}")
    return network.eval()


def _numbers(id2label: Mapping[int, str], labels: Collection[str]) -> tuple[int, ...]:
    numbers: dict[str, set[int]] = {}
    for number, label in id2label.items():
        numbers.setdefault(label.lower(), set()).add(number)
    unknown = sorted(label for label in labels if label.lower() not in numbers)
    if unknown:
        raise UnusableChecker(f"it has no label {unknown[0]!r}; it has: {', '.join(sorted(id2label.values()))}")
    return tuple(sorted(set().union(*(numbers[label.lower()] for label in labels))))


def _try(checker: Checker) -> None:
    try:
        checker.probability(Image.new("RGB", (TRIAL_SIDE, TRIAL_SIDE)))
    except Exception as error:  # whatever a classifier raises, better now than at the first picture
        raise UnusableChecker(f"it cannot look at a picture: {error}") from error
