"""Writes what a command found as a file of JSON, which tables and pages are made from later."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_findings(path: Path, found: Mapping[str, Any]) -> None:
    """Write what was found; folders that are not there are made.

    Args:
        path: where.
        found: an infinite figure, for which JSON has no word, is written as null where it stands at the top.

    Raises:
        ValueError: for a figure deeper down that is not finite.
    """
    finite = {name: None if value in (math.inf, -math.inf) else value for name, value in found.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(finite, indent=1, allow_nan=False) + "\n", encoding="utf-8")
