"""Erases what tasks hold: their pictures wherever they are, and then every row that says something of them.

Pictures first: as long as one could not be removed, its task says where it is, and the next round tries again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from deployments.delivery.sink import OutOfReach

if TYPE_CHECKING:
    from deployments.delivery.sink import Sink
    from deployments.tasks.contents import Contents, ContentStore

log = structlog.get_logger()

#: Tasks that one transaction blanks at most, so that no other writer waits long.
AT_ONCE = 50
#: Tasks that one round looks at, so that a sink that is away does not hold up the other rounds for long.
PER_ROUND = 1000


class Eraser:
    """Erases contents; any number of processes may erase the same at once."""

    def __init__(self, contents: ContentStore, sinks: Mapping[str, Sink], *, keep_s: float) -> None:
        """Take the contents, where pictures are, and how long contents are kept where nobody says otherwise."""
        self._contents = contents
        self._sinks = sinks
        self._keep_s = keep_s

    async def erase_due(self) -> int:
        """Erase what is due, at most ``PER_ROUND`` tasks; return how many of them it could."""
        due = await self._contents.due(keep_s=self._keep_s, limit=PER_ROUND)
        return await self.erase(due)

    async def erase(self, task_ids: Sequence[str]) -> int:
        """Erase what some tasks hold; return how many of them it could."""
        erased, away = 0, set[str]()
        for start in range(0, len(task_ids), AT_ONCE):
            some = task_ids[start : start + AT_ONCE]
            gone = [one for each in some if (one := await self._without_pictures(each, away))]
            await self._contents.blank(gone)
            # Or what cannot be erased would stand before all that can, round after round.
            await self._contents.put_off(sorted(set(some) - {one.task_id for one in gone}))
            erased += len(gone)
        return erased

    async def _without_pictures(self, task_id: str, away: set[str]) -> Contents | None:
        """Remove the pictures of a task; None when one could not be, or there is no such task any more.

        What is found to be ``away`` is not asked again in this round: each time may take half a minute.
        """
        contents = await self._contents.read(task_id)
        if contents is None:
            return None
        for kind, value in contents.pictures:
            if kind in away:
                return None
            try:
                await self._sinks[kind].remove(value)
            except OutOfReach as error:  # of this picture alone: the sink is there, and removes others
                log.warning("picture_out_of_reach", task_id=task_id, sink=kind, reason=str(error))
                return None
            except (OSError, KeyError):  # the sink is away, or another process has it; no other task has to wait
                log.exception("pictures_not_removed", task_id=task_id)
                away.add(kind)
                return None
        return contents
