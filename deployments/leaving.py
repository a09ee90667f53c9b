"""A node that is about to go: its replicas claim nothing more, and whoever takes it away waits until they are done.

    replica  ───► shares the node's lock with the others ──► sees the mark: ends what it holds, hands back, lets go
    uxo drain ──► makes the mark ──► has the lock alone once the last of them has let go

Ray Serve is not asked: a pod that Kubernetes ends, or that goes with a whole cluster, is ended without its knowledge.
The lock is the kernel's and goes with its process, however that ends. A mark is no longer good where Ray was started
after it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from deployments.telemetry.exposition import folder_of

log = structlog.get_logger()

#: Seconds between two looks at the mark, or at the lock.
LOOK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What the processes of one service on one machine, or in one container, know of its end."""

    #: Holds a mark and a lock; this user's alone.
    folder: Path

    @classmethod
    def of(cls, service: Path) -> Node:
        """Return that of this machine; the service's folder tells it from those of other services."""
        return cls(folder=folder_of(service, 0).with_suffix(".leaving"))

    def is_leaving(self, *, since_s: float) -> bool:
        """Whether it was marked after a time, in seconds since 1970: that at which Ray was started here."""
        with suppress(OSError):
            return self._mark.stat().st_mtime >= since_s
        return False

    @property
    def is_known(self) -> bool:
        """Whether a replica has ever stayed here; else whoever waits for it looks in the wrong place."""
        return self._lock.exists()

    def leave(self) -> None:
        """Mark it.

        Raises:
            OSError: when the folder is not this user's, or cannot be written to.
        """
        self._own()
        self._mark.touch()

    @asynccontextmanager
    async def staying(self, stopping: asyncio.Event, *, since_s: float) -> AsyncIterator[asyncio.Event]:
        """Hold the lock for the length of a block; yields what is set once work is to end, for either reason.

        A node whose folder cannot be used cannot be left in order, says so in the log, and works all the same.

        Args:
            stopping: is set when this process is told to stop.
            since_s: marks before this time are old.
        """
        ending = asyncio.Event()
        with ExitStack() as holding:
            self._hold(holding)
            looking = asyncio.create_task(self._look(stopping, ending, since_s=since_s))
            try:
                yield ending
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

    async def until_left(self) -> None:
        """Wait until no replica holds a task any more."""
        while True:
            with suppress(BlockingIOError), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                return
            await asyncio.sleep(LOOK_S)

    @property
    def _mark(self) -> Path:
        return self.folder / "mark"

    @property
    def _lock(self) -> Path:
        return self.folder / "lock"

    async def _look(self, stopping: asyncio.Event, ending: asyncio.Event, *, since_s: float) -> None:
        while not stopping.is_set() and not self.is_leaving(since_s=since_s):
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK_S)
        ending.set()

    def _hold(self, stack: ExitStack) -> None:
        try:
            stack.enter_context(self._locked(fcntl.LOCK_SH))
        except OSError as error:
            log.warning("node_not_watched", folder=str(self.folder), reason=str(error))

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        self._own()
        with self._lock.open("w", encoding="ascii") as lock:
            fcntl.flock(lock, how)
            yield

    def _own(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self.folder.lstat().st_uid != os.getuid():
            raise PermissionError(f"{self.folder} is another user's")
