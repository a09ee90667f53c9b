"""A replica's store that notes what it was answered: the harness's own witness of every claim and every end."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from acceptance.chaos.doors import Database
from acceptance.chaos.journal import Journal

from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Fault, Output, Success
from deployments.tasks.waterfall import Part


class WitnessStore(TaskStore):
    """The real store; what it answers is written down before the replica hears it."""

    def __init__(self, database: Database, *, journal: Journal, stop_every: int = 0) -> None:
        super().__init__(database)
        self._journal = journal
        self._stop_every = stop_every
        self._ends = 0

    async def claim(self, **wanted: Any) -> list[Claim]:
        """Claim, and note what came of it."""
        claims = await super().claim(**wanted)
        for claim in claims:
            self._journal.write("claimed", task=claim.task.id, fence=claim.task.fence, attempt=claim.task.attempt)
        return claims

    async def succeed(self, task_id: str, *, fence: int, success: Success) -> bool:
        """End a task well, and note whether that was accepted."""
        self._perhaps_stop(task_id)
        is_ours = await self._succeed(task_id, fence=fence, success=success)
        self._journal.write("ended", task=task_id, fence=fence, state="succeeded", accepted=is_ours)
        return is_ours

    async def fail(
        self,
        task_id: str,
        *,
        fence: int,
        fault: Fault,
        outputs: tuple[Output, ...] = (),
        spent: Mapping[Part, float] | None = None,
    ) -> bool:
        """End a task badly, and note whether that was accepted."""
        is_ours = await super().fail(task_id, fence=fence, fault=fault, outputs=outputs, spent=spent)
        self._journal.write("ended", task=task_id, fence=fence, state="failed", accepted=is_ours)
        return is_ours

    def _perhaps_stop(self, task_id: str) -> None:
        """Stop at the worst moment: with a write in hand, which comes after the lease has ended."""
        self._ends += 1
        if self._stop_every and self._ends % self._stop_every == 0:
            self._journal.write("stopped", task=task_id)
            os.kill(os.getpid(), signal.SIGSTOP)

    async def _succeed(self, task_id: str, *, fence: int, success: Success) -> bool:
        return await super().succeed(task_id, fence=fence, success=success)
