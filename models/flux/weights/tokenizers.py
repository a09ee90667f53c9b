"""Whether a folder's tokenizers are whole and belong to the networks that they feed, from their files alone.

A tokenizer is one file, or a vocabulary and the merges that make its tokens, as FLUX.1-dev has it for CLIP. Loads none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.flux.weights import WeightsError, shortened
from models.flux.weights.json_file import MAX_JSON_BYTES, read_json
from models.flux.weights.networks import Sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one network asks of its tokenizer."""

    #: The part that it feeds.
    part: str
    #: What kind of vocabulary that was trained with, in the words of ``tokenizer.json``.
    kind: str
    #: Files that it consists of, any one of the sets; the first that is whole counts.
    files: tuple[tuple[str, ...], ...]


#: By their folders.
TOKENIZERS: Mapping[str, Needs] = {
    "tokenizer": Needs(part="clip", kind="BPE", files=(("tokenizer.json",), ("vocab.json", "merges.txt"))),
    "tokenizer_2": Needs(part="t5", kind="Unigram", files=(("tokenizer.json",),)),
}
#: What transformers reads beside them where it is there.
SETTINGS = ("added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")


def tokenizer_files(folder: Path, name: str) -> tuple[Path, ...]:
    """Return every file of a tokenizer: which of them are read is transformers' own business."""
    place = folder / name
    return tuple(sorted(path for path in place.iterdir() if path.is_file())) if place.is_dir() else ()


def check_tokenizer(folder: Path, name: str, sizes: Sizes) -> None:
    """Require a tokenizer that can be read and has no token that its network does not know.

    Raises:
        WeightsError: naming the file that is missing, broken, or another network's.
    """
    needs = TOKENIZERS[name]
    there = [files for files in needs.files if all((folder / name / file).is_file() for file in files)]
    if not there:
        wanted = " or ".join(" and ".join(f"{name}/{file}" for file in files) for files in needs.files)
        raise WeightsError(f"missing: {wanted}")
    for file in SETTINGS:
        if (folder / name / file).is_file():
            _read(folder, f"{name}/{file}", wanted="setting of a tokenizer")
    main = f"{name}/{there[0][0]}"
    written = _read(folder, main, wanted="tokenizer")
    if len(there[0]) == 1:
        _check_kind(main, written, needs.kind)
        ids = _ids(main, written)
    else:
        ids = _numbers(main, written.values() if isinstance(written, dict) else ())
        _check_merges(folder, f"{name}/{there[0][1]}", written.keys())
    check_ids(main, ids, name=name, sizes=sizes)


def check_ids(where: str, ids: Iterable[int], *, name: str, sizes: Sizes) -> None:
    """Require of every token a row in the table of the network that a tokenizer feeds.

    Raises:
        WeightsError: naming the tokenizer as ``where``, when there is one without.
    """
    part = TOKENIZERS[name].part
    rows = {"clip": sizes.clip, "t5": sizes.t5}[part]["vocab_size"]
    highest = max(ids)
    if highest >= rows:
        raise WeightsError(
            f"{where} is another network's: its token ids go to {shortened(str(highest))}, "
            f"{part} has rows for 0 to {rows - 1}"
        )


def _read(folder: Path, name: str, *, wanted: str) -> Any:
    return read_json(folder / name, wanted=wanted, known_as=name)


def _check_kind(where: str, written: Any, kind: str) -> None:
    model = written.get("model") if isinstance(written, dict) else None
    found = model.get("type", kind) if isinstance(model, dict) else kind  # the oldest files name none
    if found != kind:
        raise WeightsError(
            f"{where} is another network's: its vocabulary is of the kind {shortened(str(found))}, not {kind}"
        )


def _ids(where: str, written: Any) -> list[int]:
    try:
        vocabulary = written["model"]["vocab"]
        # A list has a score beside every token, and its places are their ids.
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        return _numbers(where, [*ids, *(token["id"] for token in written.get("added_tokens") or ())])
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{where} is no tokenizer: it holds no vocabulary") from error


def _numbers(where: str, ids: Collection[object]) -> list[int]:
    numbers = [number for number in ids if type(number) is int and number >= 0]
    if not numbers or len(numbers) < len(ids):
        raise WeightsError(f"{where} is no tokenizer: it holds no vocabulary")
    return numbers


def _check_merges(folder: Path, name: str, vocabulary: Collection[str]) -> None:
    tokens = frozenset(vocabulary)
    for line in _text(folder, name).split("\n"):  # a token may hold what else ends a line
        left, _, right = line.partition(" ")
        if line and not line.startswith("#version") and not {left, right, left + right} <= tokens:
            raise WeightsError(f"{name} is no list of merges: no tokens of the vocabulary are {shortened(line)!r}")


def _text(folder: Path, name: str) -> str:
    try:
        with (folder / name).open("rb") as file:
            written = file.read(MAX_JSON_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{name} is no list of merges: {shortened(str(error))}") from error
    if len(written) > MAX_JSON_BYTES:
        raise WeightsError(f"{name} is no list of merges: it has more than {MAX_JSON_BYTES} letters")
    return written
