"""Keeping a command within its time: parts that would not end in it are left out, and named."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any


class Deadline:
    """Runs parts as long as there is time for them.

    Args:
        seconds: from now on.
        clock: seconds that go on.

    Attributes:
        after: called when a part has ended or was left out, e.g. to write what there is by then.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.after: Callable[[], object] = lambda: None
        self._clock = clock
        self._end = clock() + seconds
        #: What was left out or failed, and why.
        self.dropped: dict[str, str] = {}

    def attempt(self, name: str, part: Callable[[], Any], *, needs_s: float = -math.inf) -> Any:
        """Run a part when as many seconds are left as it may need; a part that fails ends nothing but itself.

        Args:
            name: by which it is spoken of.
            part: what is run; it keeps what it found where ``after`` finds it.
            needs_s: how long it may take; what has parts of its own begins however late it is.

        Returns:
            What the part returns; None when it was left out or failed.
        """
        try:
            return self._attempted(name, part, needs_s=needs_s)
        finally:
            self.after()

    def _attempted(self, name: str, part: Callable[[], Any], *, needs_s: float) -> Any:
        left = self._end - self._clock()
        if left < needs_s:
            self.drop(name, f"may need {needs_s:.0f} s, {max(left, 0):.0f} s were left")
            return None
        try:
            return part()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other parts are worth having
            self.drop(name, f"{type(error).__name__}: {error}"[:500])
            return None
        finally:
            sys.stderr.write(f"{name}: {self._end - self._clock():.0f} s left\n")

    def drop(self, name: str, reason: str) -> None:
        """Note that a part is missing."""
        self.dropped[name] = reason
