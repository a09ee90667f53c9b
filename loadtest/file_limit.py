"""How many files and sockets this process may have open: as many as the system lets it, not as many as is usual."""

from __future__ import annotations

import resource
from contextlib import suppress


def raise_file_limit() -> None:
    """Raise the soft limit to the hard one; a usual soft limit of 1,024 is too few for a load."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says that there is no bound, and then does not take that for one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
