"""Whether replicas run that draw: asked of Ray Serve once a second at most, since anybody may ask us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: Seconds for which an answer is good.
GOOD_FOR_S = 1.0
#: Serve's words: a deployment that is as it is to be, and a replica that works.
SETTLED, RUNNING = "HEALTHY", "RUNNING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of replicas, as Serve tells of it."""

    #: How the deployment does.
    status: str
    #: How many replicas are in which state.
    replicas: Mapping[str, int]

    @property
    def is_up(self) -> bool:
        """Whether one of them runs, or none is wanted: what is scaled to nothing starts with the first task."""
        return self.replicas.get(RUNNING, 0) > 0 or (self.status == SETTLED and not any(self.replicas.values()))


class Replicas:
    """Knows whether every kind of replicas is up."""

    def __init__(self, look: Callable[[], Sequence[Kind] | None], *, good_for_s: float = GOOD_FOR_S) -> None:
        """Take what asks Serve, on a thread: it finds nothing once the application ends, None if nobody answers."""
        self._look = look
        self._good_for_s = good_for_s
        self._looking = asyncio.Lock()
        self._looked_s = float("-inf")
        self._are_up = False

    async def are_up(self) -> bool:
        """Say whether every kind of them is up, as it was a second ago at most, or when Serve last answered."""
        async with self._looking:
            if time.monotonic() - self._looked_s > self._good_for_s:
                found = await asyncio.to_thread(self._look)
                if found is not None:
                    self._are_up = bool(found) and all(kind.is_up for kind in found)
                self._looked_s = time.monotonic()
        return self._are_up
