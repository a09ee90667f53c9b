"""Shows on a gauge how many replicas Ray Serve wants for each model; how many are up, they say themselves.

What is wanted is the file's number, or what our policy said last, between the least and the most that the file allows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from deployments.rounds import Round, forever, run_until
from deployments.telemetry.metrics import REPLICAS_WANTED

if TYPE_CHECKING:
    import asyncio

#: Seconds between two looks; Prometheus scrapes no more often as a rule.
LOOK_EVERY_S = 10.0

#: Returns how many replicas each deployment is to have, by its name.
Targets = Callable[[], Awaitable[Mapping[str, int]]]


class Staffing:
    """Keeps up to date how many replicas are wanted."""

    def __init__(self, held: Mapping[str, Sequence[str]], *, targets: Targets) -> None:
        """Take which models each deployment holds, by its name, and what says how many replicas it is to have."""
        self._held = held
        self._targets = targets

    async def run(self, stopping: asyncio.Event) -> None:
        """Look until told to stop."""
        await run_until(stopping, forever(Round.STAFF, self.look_once, every_s=LOOK_EVERY_S))

    async def look_once(self) -> Mapping[str, int]:
        """Look, show what was found, and return it by model."""
        targets = await self._targets()
        models = dict.fromkeys(model for models in self._held.values() for model in models)
        wanted = {
            model: sum(targets.get(name, 0) for name, models in self._held.items() if model in models)
            for model in models
        }
        for model, replicas in wanted.items():
            REPLICAS_WANTED.set(replicas, model=model)
        return wanted
