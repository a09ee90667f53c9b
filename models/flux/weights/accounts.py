"""Whether a folder holds what the models need: every tensor of its files accounted for, from their headers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.flux.weights import WeightsError, listed
from models.flux.weights.folder import Found, find, parts_of
from models.flux.weights.headers import TensorEntry
from models.flux.weights.layouts import Layout, Layouts
from models.flux.weights.networks import Sizes
from models.flux.weights.tokenizers import TOKENIZERS, check_tokenizer, tokenizer_files

#: Number formats that weights may have; narrower ones carry scales that nothing here knows of.
FORMATS = frozenset({"BF16", "F16", "F32"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """What was found of one part."""

    #: Which part.
    part: str
    #: Its files, if there are any that can be read.
    found: Found | None
    #: What is wrong, a sentence each; none when all is well.
    problems: tuple[str, ...]
    #: Tensors of its files that are known and needed by nobody.
    spare: int = 0
    #: Every file that is read for it.
    paths: tuple[Path, ...] = ()


def check_folder(folder: Path, models: tuple[str, ...], layouts: Layouts) -> list[PartReport]:
    """Account for every part that these models need."""
    parts = [check_part(folder, part, layouts) for part in parts_of(models)]
    return [*parts, *(_check_tokenizer(folder, name, layouts.sizes) for name in TOKENIZERS)]


def check_part(folder: Path, part: str, layouts: Layouts) -> PartReport:
    """Account for one part."""
    try:
        found = find(folder, part)
    except (WeightsError, OSError) as error:
        return PartReport(part=part, found=None, problems=(str(error),))
    layout = layouts.of(part, found.layout)
    problems = tuple(_problems(found, layout, layouts))
    spare = sum(entry.name.startswith(layout.spare) for entry in found.entries) if layout.spare else 0
    return PartReport(part=part, found=found, problems=problems, spare=spare, paths=found.paths)


def _problems(found: Found, layout: Layout, layouts: Layouts) -> Iterator[str]:
    entries = {entry.name: entry for entry in found.entries}
    unknown = {name for name in entries.keys() - layout.shapes.keys() if not name.startswith(layout.spare or ("\0",))}
    missing = layout.shapes.keys() - entries.keys()
    files = ", ".join(path.name for path in found.paths)
    if len(missing) > len(layout.shapes) / 2:
        yield f"{files} is another model's: {_named(layouts.recognise(entries), missing, unknown)}"
        return
    if doubled := [name for name, count in Counter(entry.name for entry in found.entries).items() if count > 1]:
        yield f"{files}: doubled tensors: {listed(doubled)}"
    if unknown:
        yield f"{entries[min(unknown)].path.name}: unknown tensors: {listed(unknown)}"
    if missing:
        yield f"{files}: missing tensors: {listed(missing)}"
    known = [entry for entry in found.entries if entry.name in layout.shapes]
    yield from _first_and_rest([each for entry in known for each in _misfits(entry, layout.shapes[entry.name])])


def _named(recognised: str | None, missing: set[str], unknown: set[str]) -> str:
    if recognised:
        return f"it holds the tensors of {recognised}"
    return f"it lacks {listed(missing)}" + (f" and holds {listed(unknown)}" if unknown else "")


def _misfits(entry: TensorEntry, shape: tuple[int, ...]) -> Iterator[str]:
    if entry.shape != shape:
        yield f"{entry.path.name}: {entry.name}: expected {shape}, found {entry.shape}"
    if entry.dtype not in FORMATS:
        yield f"{entry.path.name}: {entry.name}: expected {' or '.join(sorted(FORMATS))}, found {entry.dtype}"


def _first_and_rest(sentences: list[str]) -> Iterator[str]:
    if sentences:
        rest = len(sentences) - 1
        yield sentences[0] + (f" ({rest} more like it)" if rest else "")


def _check_tokenizer(folder: Path, name: str, sizes: Sizes) -> PartReport:
    try:
        check_tokenizer(folder, name, sizes)
    except WeightsError as error:
        return PartReport(part=name, found=None, problems=(str(error),))
    return PartReport(part=name, found=None, problems=(), paths=tokenizer_files(folder, name))
