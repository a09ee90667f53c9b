"""When an engine is given up, and which tasks that casts doubt on.

A task that was on the device when it was lost may have done it: its lease is left to end, so that its attempt counts
and the third such loss quarantines it. All others are handed back as if they had never been begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

#: Steps in a row that may go wrong in the engine itself before it is given up.
MOST_STUMBLES = 3


class Doubt:
    """Collects what speaks against an engine."""

    def __init__(self) -> None:
        """Trust it."""
        #: Set once it is given up.
        self.is_lost = asyncio.Event()
        #: Why, as the log has it.
        self.reason = ""
        #: Tasks that may be why.
        self.suspects: frozenset[str] = frozenset()
        self._stumbles = 0

    def lose(self, reason: str, suspects: Iterable[str]) -> None:
        """Give the engine up; what comes after the first loss only follows from it."""
        if not self.is_lost.is_set():
            self.reason, self.suspects = reason, frozenset(suspects)
            self.is_lost.set()

    def stumble(self, held: Iterable[str]) -> None:
        """Note a step that went wrong in the engine itself, which says nothing of which task it was."""
        self._stumbles += 1
        if self._stumbles >= MOST_STUMBLES:
            self.lose("engine_broken", held)

    def recover(self) -> None:
        """Note a step that went well."""
        self._stumbles = 0
