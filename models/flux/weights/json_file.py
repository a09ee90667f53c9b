"""Reading the JSON files that lie beside weights: strangers' texts, so none beyond some length, nor nested deeply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.flux.weights import WeightsError, shortened

#: Longest file that is read; the longest of the released ones, a tokenizer, has some 2.4 MB.
MAX_JSON_BYTES = 10_000_000


def read_json(path: Path, *, wanted: str, known_as: str | None = None) -> Any:
    """Return what a file says.

    Args:
        path: where it lies.
        wanted: what it should be, in the words of a complaint.
        known_as: how a complaint names it; its name alone when None.

    Raises:
        WeightsError: naming the file, when it cannot be read, is too long, no JSON, or nested too deeply.
    """
    name = known_as or path.name
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
        if len(text) <= MAX_JSON_BYTES:
            return json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{name} is no {wanted}: {shortened(str(error))}") from error
    raise WeightsError(f"{name} is no {wanted}: it has more than {MAX_JSON_BYTES} bytes")
