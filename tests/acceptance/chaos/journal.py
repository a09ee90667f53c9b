"""Append-only files of JSON lines: what a process saw, kept by that process, readable after it was killed.

Moments are ``time.monotonic()``, which all processes of one machine share.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Journal:
    """One process's file; a line is written whole, by one call, before the process goes on."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, event: str, **fields: Any) -> None:
        """Note an event."""
        line = json.dumps({"t": round(time.monotonic(), 4), "event": event, **fields})
        os.write(self._file, f"{line}\n".encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_journals(folder: Path) -> list[Entry]:
    """Read every line of every file in a folder, the oldest first."""
    entries = [entry for path in sorted(folder.glob("*.jsonl")) for entry in _read(path)]
    return sorted(entries, key=lambda entry: float(entry["t"]))


def _read(path: Path) -> Iterator[Entry]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)
