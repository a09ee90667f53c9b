"""One OpenAPI 3.1 document for each dialect, written by hand; what a dialect does is compared with them by tests.

The files speak of a server at its default address; whoever serves them says where it really is.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def read_document(name: str) -> dict[str, Any]:
    """Return the document of a dialect.

    Args:
        name: as in ``DIALECTS``.

    Raises:
        FileNotFoundError: when there is none.
    """
    document: dict[str, Any] = json.loads(files(__name__).joinpath(f"{name}.json").read_bytes())
    return document
