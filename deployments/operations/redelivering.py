"""Sends the pictures of an ended task to an address of its tenant's, once more or for the first time.

It reads them from our own sinks, so nothing is drawn again. Knows no dialect: a task is found whatever it came in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deployments.clock import utc_now
from deployments.delivering import sent
from deployments.delivery.files import LinkUnknown
from deployments.errors import BadCall, NotFound, Unavailable, UploadAddressRefused, UploadFailed
from deployments.operations.turns import Turns
from deployments.outbound.expiry import check_upload
from deployments.tasks.views import TaskViews

if TYPE_CHECKING:
    from deployments.database.database import Database
    from deployments.delivering import Upload
    from deployments.delivery.sink import Sink
    from deployments.operations.operation import Redeliver
    from deployments.tasks.store import TaskStore
    from deployments.tasks.task import Output, Task

#: Tasks whose pictures a process sends at once; each picture is in memory meanwhile.
SEND_AT_ONCE = 4
#: How many of them may be one tenant's.
SEND_PER_TENANT = 2

_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)


class Redelivering:
    """Sends again what our sinks still hold."""

    def __init__(self, database: Database, *, store: TaskStore, sinks: Mapping[str, Sink], upload: Upload) -> None:
        """Take where tasks are, what holds their pictures, and what sends them."""
        self._views = TaskViews(database)
        self._store = store
        self._sinks = sinks
        self._upload = upload
        self._turns = Turns(at_once=SEND_AT_ONCE, per_tenant=SEND_PER_TENANT)

    async def redeliver(self, wanted: Redeliver, tenant_id: str) -> Task:
        """Send every picture of a task, and return the task with the receipts.

        Raises:
            BadCall: when it has not ended, or has no pictures.
            NotFound: when it is not there for this tenant, or its pictures are no longer.
            Unavailable: when our own sink does not answer.
            UploadAddressRefused: when the address has expired, or does not take a picture.
        """
        check_upload(wanted.url, now=utc_now())
        async with self._turns.turn(tenant_id):  # before the task is read: its pictures may lie in its row
            task = await self._task(wanted.task_id, tenant_id)
            outputs = [output for placed in _pictures(task) for output in await self._send(placed, wanted, tenant_id)]
        await self._store.note_sent(task, tuple(outputs))
        return await self._task(task.id, tenant_id)

    async def _task(self, task_id: str, tenant_id: str) -> Task:
        task = await self._store.read(task_id, tenant_id=tenant_id)
        if task is None and _KEY.fullmatch(task_id):
            task = await self._views.once(task_id, tenant_id=tenant_id)
        if task is None:
            raise NotFound("task not found")
        if not task.outputs:
            raise BadCall(f"this task is {task.state} and has no pictures to send")
        return task

    async def _send(self, placed: Sequence[Output], wanted: Redeliver, tenant_id: str) -> list[Output]:
        first = placed[0]
        if first.sink not in self._sinks:
            raise Unavailable("the pictures are in a bucket that this server is not set up for")
        try:
            content = await self._sinks[first.sink].read(first.value)
            return await sent(placed, content, url=wanted.url, tenant_id=tenant_id, upload=self._upload)
        except LinkUnknown as error:
            raise NotFound("the pictures of this task are no longer there") from error
        except UploadFailed as error:
            raise UploadAddressRefused(error.message) from error
        except OSError as error:
            raise Unavailable("the pictures of this task cannot be read right now") from error


def _pictures(task: Task) -> list[tuple[Output, ...]]:
    """Return the outputs picture by picture, each with all the sinks that have it."""
    sinks = len(task.sinks)
    return [task.outputs[start : start + sinks] for start in range(0, len(task.outputs), sinks)]
