"""Reading files of weights once, from their first byte to their last, one tensor in memory at a time.

Every byte goes through SHA-256 on its way, so a file that is not what was recorded is found out without a second read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path

import torch
from torch import Tensor

from models.flux.weights import WeightsError
from models.flux.weights.headers import TensorEntry, parse_header

#: The file beside the weights that holds their digests, as ``sha256sum`` writes and checks it.
SUMS = "SHA256SUMS"
#: Bytes that are hashed at a time where nothing but the digest is wanted.
BLOCK_BYTES = 1 << 24

_DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}


def stream(
    path: Path, entries: Sequence[TensorEntry], *, pinned: bool, done: Callable[[Path, str], None]
) -> Iterator[tuple[TensorEntry, Tensor]]:
    """Yield every tensor of a file in the order of its bytes; each is overwritten by the next.

    Args:
        path: a safetensors file.
        entries: what its header said when it was accounted for.
        pinned: whether its memory is locked, so that a GPU fetches it at full speed.
        done: hears the file's SHA-256 at its end.

    Raises:
        WeightsError: when the file is no longer the one that was accounted for, or ends early.
    """
    largest = max((entry.size_bytes for entry in entries), default=0)
    buffer = torch.empty(largest, dtype=torch.uint8, pin_memory=pinned)
    with FileIO(path) as file:
        head = bytearray(entries[0].start if entries else path.stat().st_size)
        _fill(file, memoryview(head), path)
        _check_same(path, head, entries, size_bytes=os.fstat(file.fileno()).st_size)
        digest = hashlib.sha256(head)
        for entry in entries:
            values = buffer[: entry.size_bytes]
            view = values.numpy().data
            _fill(file, view, path)
            digest.update(view)
            yield entry, _shaped(values, entry)
    done(path, digest.hexdigest())


def _check_same(path: Path, head: bytearray, entries: Sequence[TensorEntry], *, size_bytes: int) -> None:
    length = int.from_bytes(head[:8], "little")
    if length != len(head) - 8 or parse_header(path, bytes(head[8:]), size_bytes=size_bytes) != list(entries):
        raise WeightsError(f"{path.name} was changed after it was accounted for; start again")


def _fill(file: FileIO, view: memoryview, path: Path) -> None:
    while view:
        count = file.readinto(view)
        if not count:
            raise WeightsError(f"{path.name} became shorter while it was read")
        view = view[count:]


def _shaped(values: Tensor, entry: TensorEntry) -> Tensor:
    # Formats that no network here takes are read for the digest alone.
    dtype = _DTYPES.get(entry.dtype)
    return values if dtype is None else values.view(dtype).reshape(entry.shape)


def digest_of(path: Path, *, progress: Callable[[int], object]) -> str:
    """Return the SHA-256 of a file; ``progress`` hears how many bytes were read since it last did."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()


def read_sums(folder: Path) -> dict[str, str]:
    """Return the recorded digest of each file by its path in the folder; none when nothing was recorded.

    Raises:
        WeightsError: when the record cannot be read.
    """
    path = folder / SUMS
    if not path.is_file():
        return {}
    sums: dict[str, str] = {}
    for line in _text_of(path).splitlines():
        digest, _, name = line.partition(" ")
        if len(digest) != 64 or not name.strip():
            raise WeightsError(f"{SUMS} is not what sha256sum writes: {line[:80]!r}")
        sums[name.lstrip(" *").removeprefix("./")] = digest.lower()
    return sums


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{SUMS} is not what sha256sum writes: it is no UTF-8 text") from error
    except OSError as error:
        raise WeightsError(f"{SUMS} cannot be read: {error}") from error


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Record digests, as ``sha256sum --check`` reads them."""
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sum(sums: Mapping[str, str], name: str, digest: str) -> None:
    """Compare a file's digest with the recorded one, if one was recorded.

    Raises:
        WeightsError: when they differ.
    """
    recorded = sums.get(name, digest)
    if recorded != digest:
        raise WeightsError(
            f"{name} is not the file that {SUMS} records: expected {recorded[:16]}…, found {digest[:16]}…"
        )
