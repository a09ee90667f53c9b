"""Seven bugs of the kind that durable services have had, planted from outside, to see that the harness finds them.

    bug                     planted in      what it does
    answer before commit    gateway         says 2xx, then writes
    no fence check          replica         whoever comes back late may still write
    lease on wall clock     housekeeper     judges leases by its own clock, which is an hour ahead
    upload unverified       replica         half of every picture's bytes are lost, and nobody looks
    no unique index         gateway, SQL    nothing keeps racing copies of one call apart
    swallowed cancel        gateway         says that a task is cancelled, and leaves it alone
    blind delivery          housekeeper     takes every webhook for delivered, whatever was answered

Each takes the place of a real part of a process; the product has no switch for any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from acceptance.chaos.brisk import BriskOutbox
from acceptance.chaos.crash_points import ArmedStore, Fuse
from acceptance.chaos.doors import Database, database_now, tasks, tenants
from acceptance.chaos.witness import WitnessStore
from sqlalchemy import Text, bindparam, select, update
from sqlalchemy.ext.compiler import compiles

from deployments.delivery.files import FilesSink
from deployments.delivery.sink import EncodedImage
from deployments.tasks import accept as accepting
from deployments.tasks.accept import OnceKey
from deployments.tasks.rows import success_columns
from deployments.tasks.settle import end
from deployments.tasks.task import Beat, Success, Task, TaskState
from deployments.tasks.webhook import DueWebhook, WebhookState
from models.request import GenerationRequest


class Bug(StrEnum):
    """A bug to plant."""

    #: The answer goes out before the task is durable.
    ANSWER_BEFORE_COMMIT = "answer before commit"
    #: A replica's writes are not refused when its claim is over.
    NO_FENCE = "no fence check"
    #: Leases are judged by the clock of a process.
    WALL_CLOCK = "lease on wall clock"
    #: A picture counts as placed although its bytes are not.
    UNVERIFIED_UPLOAD = "upload unverified"
    #: Neither an index nor a lock makes a key unique.
    NO_UNIQUE_INDEX = "no unique index"
    #: A cancel is acknowledged and not done.
    SWALLOWED_CANCEL = "swallowed cancel"
    #: What was sent counts as delivered.
    BLIND_DELIVERY = "blind delivery"


#: Seconds by which the wrong clock is ahead.
SKEW_S = 3600
#: What takes the unique index away, on PostgreSQL.
DROP_INDEX = "ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey"

_THIS_ID = bindparam("this_id", type_=Text)
_SUCCEED_ANYWAY = (
    update(tasks)
    .where(tasks.c.id == _THIS_ID)
    .values(
        state=TaskState.SUCCEEDED,
        finished_at=database_now(),
        outputs=bindparam("this_outputs", type_=Text),
        inference_ms=bindparam("this_inference_ms"),
        spent=bindparam("this_spent"),
        lease_expires_at=None,
    )
    .returning(tasks)
)


class HastyStore(ArmedStore):
    """Answers before the commit."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        super().__init__(database, fuse)
        self._writing: set[asyncio.Task[Task]] = set()

    async def accept(
        self, task: Task, request: GenerationRequest, *, once: OnceKey | None = None, body: str | None = None
    ) -> Task:
        """Begin to write a task, and say that it is accepted."""
        self._writing.add(asyncio.create_task(super().accept(task, request, once=once, body=body)))
        return task


class DeafStore(ArmedStore):
    """Acknowledges cancels and does nothing."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        super().__init__(database, fuse)
        self._swallowed: set[str] = set()

    async def cancel(self, task_id: str, *, tenant_id: str) -> bool:  # noqa: ARG002 -- the store's argument
        """Say that a task is cancelled."""
        self._swallowed.add(task_id)
        return True

    async def read(self, task_id: str, *, tenant_id: str) -> Task | None:
        """Read a task, and keep up appearances once."""
        task = await super().read(task_id, tenant_id=tenant_id)
        if task is None or task.state.is_terminal or task_id not in self._swallowed:
            return task
        self._swallowed.discard(task_id)
        return replace(task, state=TaskState.CANCELLED)


class FencelessStore(WitnessStore):
    """Lets every replica write, whether or not its claim is over."""

    async def beat(self, beats: list[Beat], *, lease_s: float) -> frozenset[str]:  # type: ignore[override]  # narrower
        """Renew what is still ours, and claim that all of it is."""
        await super().beat(beats, lease_s=lease_s)
        return frozenset(beat.task_id for beat in beats)

    async def still_claimed(self, fences: Mapping[str, int]) -> frozenset[str]:
        """Say that every claim is good."""
        return frozenset(fences)

    async def _succeed(self, task_id: str, *, fence: int, success: Success) -> bool:  # noqa: ARG002 -- which is the bug
        values: dict[str, Any] = {"this_id": task_id} | success_columns(success)
        return bool(await self._database.write(lambda connection: end(connection, _SUCCEED_ANYWAY, values)))


class TornFiles(FilesSink):
    """Loses half of every picture, and does not look."""

    async def put(self, name: str, image: EncodedImage, *, tenant_id: str = "", lifetime_s: float | None = None) -> str:
        """Write the first half of a picture."""
        torn = replace(image, content=image.content[: len(image.content) // 2])
        return await super().put(name, torn, tenant_id=tenant_id, lifetime_s=lifetime_s)


class BlindOutbox(BriskOutbox):
    """Does not look at what was answered."""

    async def put_off(self, due: DueWebhook, *, pause_s: float, answer: str) -> bool:  # noqa: ARG002 -- the outbox's
        """Take a webhook for delivered that was not taken."""
        return await self.end(due, WebhookState.DELIVERED, answer=answer)


#: What takes the place of the gateway's store.
GATEWAY_STORES: Mapping[str, type[ArmedStore]] = MappingProxyType(
    {Bug.ANSWER_BEFORE_COMMIT: HastyStore, Bug.SWALLOWED_CANCEL: DeafStore}
)
#: What takes the place of a replica's store.
REPLICA_STORES: Mapping[str, type[WitnessStore]] = MappingProxyType({Bug.NO_FENCE: FencelessStore})
#: What takes the place of a replica's files.
REPLICA_FILES: Mapping[str, type[FilesSink]] = MappingProxyType({Bug.UNVERIFIED_UPLOAD: TornFiles})
#: What takes the place of a housekeeper's outbox.
HOUSEKEEPER_OUTBOXES: Mapping[str, type[BriskOutbox]] = MappingProxyType({Bug.BLIND_DELIVERY: BlindOutbox})


def skew_clock() -> None:
    """Let this process take its own clock, which is wrong, for the database's."""
    # Its clock differs from the database's by a constant, so the statements can go on asking that one.
    sqlite = f"((julianday('now') - 2440587.5) * 86400.0 + {SKEW_S})"
    postgresql = f"(extract(epoch from clock_timestamp())::double precision + {SKEW_S})"
    compiles(database_now, "sqlite")(lambda *_, **__: sqlite)
    compiles(database_now, "postgresql")(lambda *_, **__: postgresql)


def forget_tenant_lock() -> None:
    """Let submissions of one tenant be judged at the same time."""
    unlocked = select(tenants, database_now().label("now_s")).where(
        tenants.c.id == bindparam("this_tenant", type_=Text)
    )
    accepting.LOCK_TENANT = unlocked
