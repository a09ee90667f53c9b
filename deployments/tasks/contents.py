"""What tasks hold of their callers, besides how they ended: found when its time is over, and blanked.

    ended ──► its time is over, or it was deleted ──► due ──► its pictures are removed ──► blanked ──► forgotten

A blanked task still says how it ended; its pictures, its wish, what its caller had sent and what was told of it are
gone. Knows where none of the pictures is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Double, Integer, Row, Text, bindparam, delete, select, update

from deployments.database.database import Database
from deployments.database.schema import database_now, task_bodies, task_requests, tasks, webhooks
from deployments.tasks.statements import WITHOUT_INLINE
from deployments.tasks.webhook import WebhookState

#: What dialects note of a wish in its caller's own words.
CONTENT_NOTES = frozenset({"prompt"})

#: Seconds after which a task whose pictures could not be removed is looked at again.
PUT_OFF_S = 600.0

_AT_MOST = bindparam("at_most", type_=Integer)
_IDS = bindparam("task_ids", expanding=True, type_=Text)
# Asked once, in a query of its own: what may change from row to row, as the time does, is not looked up in an index.
_NOW = select(database_now()).scalar_subquery()
_LONG_AGO = select(database_now() - bindparam("keep_s", type_=Double)).scalar_subquery()

#: Find up to :at_most tasks that were deleted or had a life time of their own.
DUE_BY_ITSELF = select(tasks.c.id).where(tasks.c.erase_at <= _NOW).order_by(tasks.c.erase_at).limit(_AT_MOST)

#: Find up to :at_most tasks whose contents have been kept for as long as any.
DUE_BY_AGE = (
    select(tasks.c.id)
    .where(tasks.c.finished_at <= _LONG_AGO, tasks.c.erase_at.is_(None), tasks.c.erased_at.is_(None))
    .order_by(tasks.c.finished_at)
    .limit(_AT_MOST)
)

#: Read where the pictures of one task are; those that lie in its row alone need not be read to be blanked.
READ_PLACES = select(*WITHOUT_INLINE).where(tasks.c.id == bindparam("this_id", type_=Text))

#: Blank what the row of a task holds.
BLANK = (
    update(tasks)
    .where(tasks.c.id == bindparam("this_id", type_=Text))
    .values(
        outputs="[]",
        notes=bindparam("this_notes", type_=Text),
        webhook=None,
        upload_url=None,
        erase_at=None,
        erased_at=database_now(),
    )
)

#: Look at a task again later.
PUT_OFF = (
    update(tasks).where(tasks.c.id.in_(_IDS), tasks.c.erased_at.is_(None)).values(erase_at=database_now() + PUT_OFF_S)
)

#: Forget what a task was to make.
FORGET_WISH = delete(task_requests).where(task_requests.c.task_id.in_(_IDS))

#: Forget what the caller of a task had sent.
FORGET_BODY = delete(task_bodies).where(task_bodies.c.task_id.in_(_IDS))

#: Tell nobody of a deleted task.
SILENCE = (
    update(webhooks)
    .where(webhooks.c.task_id.in_(_IDS), webhooks.c.state == WebhookState.WAITING)
    .values(state=WebhookState.SILENT, ended_at=database_now(), last_answer="its task is gone")
)

#: Blank what was told of a task, and where; what is still to be told stays until it is.
BLANK_WEBHOOKS = (
    update(webhooks)
    .where(webhooks.c.task_id.in_(_IDS), webhooks.c.state != WebhookState.WAITING)
    .values(body=None, url="")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What one task holds."""

    #: Of the task.
    task_id: str
    #: Kind of sink and remembered value of every picture that is not in the row itself.
    pictures: tuple[tuple[str, str], ...]
    #: What its dialect notes, as JSON, without its caller's words.
    notes: str
    #: Whether its tenant has deleted it.
    is_deleted: bool


class ContentStore:
    """The contents of tasks in a database; every method raises Unavailable while that cannot be reached.

    Args:
        database: an open, migrated database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, *, keep_s: float, limit: int) -> list[str]:
        """Find tasks whose contents are to be erased, those that were deleted first.

        Args:
            keep_s: how long contents are kept where nobody says otherwise, in seconds from the end of the task.
            limit: at most so many.
        """
        found = await self._database.rows(DUE_BY_ITSELF, {"at_most": limit})
        if len(found) < limit:
            found = [*found, *await self._database.rows(DUE_BY_AGE, {"keep_s": keep_s, "at_most": limit - len(found)})]
        return [str(row.id) for row in found]

    async def read(self, task_id: str) -> Contents | None:
        """Read where the pictures of a task are; None when the task has been forgotten meanwhile."""
        rows = await self._database.rows(READ_PLACES, {"this_id": task_id})
        return _contents(task_id, rows[0]) if rows else None

    async def put_off(self, task_ids: Sequence[str]) -> None:
        """Let tasks whose pictures could not be removed come up again in ten minutes."""
        if task_ids:
            await self._database.write(lambda connection: connection.execute(PUT_OFF, {"task_ids": task_ids}))

    async def blank(self, contents: Sequence[Contents]) -> None:
        """Blank what some tasks hold; their pictures have to be gone before, for nobody can find them afterwards."""
        if contents:
            await self._database.write(lambda connection: _blank(connection, contents))


def _contents(task_id: str, row: Row[Any]) -> Contents:
    is_deleted = row.deleted_at is not None
    notes = {} if is_deleted else {name: v for name, v in json.loads(row.notes).items() if name not in CONTENT_NOTES}
    pictures = [(output["sink"], output["value"]) for output in json.loads(row.outputs) if output["sink"] != "inline"]
    return Contents(task_id=task_id, pictures=tuple(pictures), notes=json.dumps(notes), is_deleted=is_deleted)


def _blank(connection: Connection, contents: Sequence[Contents]) -> None:
    # Everyone takes rows in the same order, so no two can wait for each other.
    ordered = sorted(contents, key=lambda one: one.task_id)
    connection.execute(BLANK, [{"this_id": one.task_id, "this_notes": one.notes} for one in ordered])
    values = {"task_ids": [one.task_id for one in ordered]}
    connection.execute(FORGET_WISH, values)
    connection.execute(FORGET_BODY, values)
    if deleted := [one.task_id for one in ordered if one.is_deleted]:
        connection.execute(SILENCE, {"task_ids": deleted})
    connection.execute(BLANK_WEBHOOKS, values)
