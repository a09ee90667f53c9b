"""Shows on the gauges how much waits and runs in the whole cluster, looked up every few seconds."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from deployments.rounds import Round, forever, run_until
from deployments.tasks.census import Census, Crowd, take_census
from deployments.telemetry.metrics import (
    QUEUE_AGE,
    QUEUE_LIMIT,
    QUEUE_TASKS,
    QUEUE_UNITS,
    RUNNING_TASKS,
    TENANT_CLASSES,
    WEBHOOK_AGE,
    WEBHOOKS_WAITING,
)

if TYPE_CHECKING:
    import asyncio

    from deployments.database.database import Database

#: Seconds between two looks; Prometheus scrapes no more often as a rule.
LOOK_EVERY_S = 5.0


class Gauging:
    """Keeps the gauges of the whole cluster up to date."""

    def __init__(self, database: Database, *, models: Collection[str], max_queued: int) -> None:
        """Take where to look, the models that are shown even while nothing of theirs waits, and how much may wait."""
        self._database = database
        self._max_queued = max_queued
        self._models = models

    async def run(self, stopping: asyncio.Event) -> None:
        """Look until told to stop."""
        await run_until(stopping, forever(Round.COUNT, self.look_once, every_s=LOOK_EVERY_S))

    async def look_once(self) -> Census:
        """Look, and show what was found."""
        census = await take_census(self._database)
        for model in {*self._models, *(crowd.model for crowd in census.crowds)}:
            _show(model, [crowd for crowd in census.crowds if crowd.model == model])
        QUEUE_LIMIT.set(self._max_queued)
        WEBHOOKS_WAITING.set(census.webhooks)
        WEBHOOK_AGE.set(census.webhook_age_s)
        return census


def _show(model: str, crowds: Collection[Crowd]) -> None:
    """Show one model's crowds, and nothing where there are none: a gauge that is not set keeps what it showed."""
    QUEUE_UNITS.set(sum(crowd.queued_units for crowd in crowds), model=model)
    RUNNING_TASKS.set(sum(crowd.running for crowd in crowds), model=model)
    for side, name in enumerate(TENANT_CLASSES, start=-1):
        of_class = [crowd for crowd in crowds if crowd.side == side]
        QUEUE_TASKS.set(sum(crowd.queued for crowd in of_class), model=model, tenant_class=name)
        QUEUE_AGE.set(max((crowd.oldest_s for crowd in of_class), default=0.0), model=model, tenant_class=name)
