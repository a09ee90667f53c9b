"""Shows those who follow a task what its pictures look like on their way; no picture and no task depends on it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING

import structlog

from deployments.delivery.encode import encode_preview
from deployments.tasks.task import Beat, Preview

if TYPE_CHECKING:
    from deployments.tasks.store import TaskStore
    from models.report import Preview as Drawn

log = structlog.get_logger()


class Previews:
    """Notes previews in the store, of each task one at a time: what comes meanwhile is left out."""

    def __init__(self, store: TaskStore) -> None:
        """Take where they are noted."""
        self._store = store
        self._noting: dict[str, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        """Say how many are on their way."""
        return f"<Previews [{len(self._noting)} on their way]>"

    def show(self, beat: Beat, drawn: Drawn) -> None:
        """Note a preview beside whatever else goes on."""
        if beat.task_id not in self._noting:
            self._noting[beat.task_id] = asyncio.create_task(self._note(beat, drawn))

    async def close(self) -> None:
        """Give up what is on its way."""
        noting = list(self._noting.values())
        for each in noting:
            each.cancel()
        await asyncio.gather(*noting, return_exceptions=True)

    async def _note(self, beat: Beat, drawn: Drawn) -> None:
        try:
            jpeg = await asyncio.to_thread(encode_preview, drawn.image)
            text = b64encode(jpeg).decode("ascii")
            await self._store.note_preview(beat, Preview(picture=drawn.index, steps_done=drawn.steps_done, jpeg=text))
        except Exception:
            log.exception("preview_failed", task_id=beat.task_id)
        finally:
            del self._noting[beat.task_id]
