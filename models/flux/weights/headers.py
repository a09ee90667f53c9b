"""What a safetensors file says of itself: names, number formats, shapes and places, without reading any values.

Source: the format's description in the safetensors repository, README, "Format", seen 2026-11: eight bytes of length,
a JSON header of that length, then the values of every tensor, without gaps.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.flux.weights import WeightsError, shortened

#: Longest header that is read. The format allows ten times as much, which would take gigabytes to be understood; the
#: longest of the released files has some 150 kB.
MAX_HEADER_BYTES = 10_000_000
#: Most sides that a tensor may have; released ones have 4. What they make is computed only of so many.
MAX_SIDES = 8
#: From here on no number is a side or an offset: what safetensors itself counts with ends before.
NO_SIZE = 1 << 63
#: Bytes of one number of every format that any published file of ours may have.
FORMAT_BYTES: Mapping[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """One tensor of a file, as the file's header has it."""

    #: The file it lies in.
    path: Path
    #: Its key.
    name: str
    #: Its number format in the words of safetensors, such as ``BF16``.
    dtype: str
    #: Its sides.
    shape: tuple[int, ...]
    #: Where its values begin, in bytes from the beginning of the file.
    start: int
    #: How long they are, in bytes.
    size_bytes: int


def read_header(path: Path) -> list[TensorEntry]:
    """Return the tensors of a file in the order in which their values lie.

    Raises:
        WeightsError: naming the file, when it is no safetensors file or not a whole one.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size_bytes < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, size_bytes - 8):
                raise WeightsError(f"{path.name} is not a readable safetensors file: its header does not fit into it")
            text = file.read(length)
    except OSError as error:
        raise WeightsError(f"{path.name} is not a readable safetensors file: {error}") from error
    return parse_header(path, text, size_bytes=size_bytes)


def parse_header(path: Path, text: bytes, *, size_bytes: int) -> list[TensorEntry]:
    """Return the tensors that a header of a file of some size describes, in the order in which their values lie.

    Raises:
        WeightsError: as ``read_header``.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name} is not a readable safetensors file: {error}") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path.name} is not a readable safetensors file: its header is no JSON object")
    found.pop("__metadata__", None)
    origin = 8 + len(text)
    entries = [_entry(path, name, written, origin=origin) for name, written in found.items()]
    entries.sort(key=lambda entry: entry.start)
    _check_whole(path, entries, origin=origin, size_bytes=size_bytes)
    return entries


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Take no name twice; of two tensors of one name, readers would differ in which of them counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise WeightsError(f"its header names {shortened(name)} twice")
    return found


def _entry(path: Path, name: str, written: Any, *, origin: int) -> TensorEntry:
    known_as = shortened(name)
    try:
        dtype, shape = str(written["dtype"]), tuple(_whole(side) for side in written["shape"])
        start, end = (_whole(offset) for offset in written["data_offsets"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name} is not a readable safetensors file: {known_as} is not described") from error
    width = FORMAT_BYTES.get(dtype)
    if width is None:
        raise WeightsError(f"{path.name}: {known_as} has numbers of an unknown format, {shortened(dtype)}")
    if len(shape) > MAX_SIDES:
        raise WeightsError(f"{path.name}: {known_as} has {len(shape)} sides, at most {MAX_SIDES} are read")
    if max(map(abs, (start, end, *shape))) >= NO_SIZE:
        raise WeightsError(f"{path.name}: {known_as} has a side or an offset that no file reaches")
    if min((0, start, *shape)) < 0 or end - start != width * math.prod(shape):
        raise WeightsError(f"{path.name}: {known_as} takes {end - start} bytes, which {dtype} {shape} does not")
    return TensorEntry(path=path, name=name, dtype=dtype, shape=shape, start=origin + start, size_bytes=end - start)


def _whole(number: object) -> int:
    if type(number) is not int:  # a truth value is an int too, and a fraction would be cut to one
        raise TypeError
    return number


def _check_whole(path: Path, entries: list[TensorEntry], *, origin: int, size_bytes: int) -> None:
    end = origin
    for entry in entries:
        if entry.start != end:
            raise WeightsError(
                f"{path.name} is not a readable safetensors file: {shortened(entry.name)} overlaps or leaves a gap"
            )
        end += entry.size_bytes
    if size_bytes < end:
        raise WeightsError(f"{path.name} is truncated: it has {size_bytes} bytes, its header asks for {end}")
    if size_bytes > end:
        raise WeightsError(f"{path.name} goes on after its last tensor: it has {size_bytes} bytes instead of {end}")
