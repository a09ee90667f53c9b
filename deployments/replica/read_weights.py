"""What a replica has read of weights: each file is logged with its digest, and what nobody has recorded by name."""

from __future__ import annotations

import structlog

from models.loading import unrecorded

log = structlog.get_logger()


class ReadWeights:
    """Hears of every file that is read."""

    def __init__(self) -> None:
        """Know of none."""
        self._files: list[str] = []

    def note(self, file: str, digest: str) -> None:
        """Log a file, by its path in the folder, with its SHA-256."""
        log.info("weights_file_read", file=file, sha256=digest)
        self._files.append(file)

    def warn(self, weights: str) -> None:
        """Log once which files ``SHA256SUMS`` does not name: a changed byte in them goes unnoticed.

        Args:
            weights: the folder or hub id that they were read from.
        """
        if files := unrecorded(weights, self._files):
            log.warning("weights_unrecorded", weights=weights, files=files)
