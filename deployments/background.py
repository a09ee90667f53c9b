"""A coroutine on an event loop of its own thread: how a Serve deployment that nobody calls does its work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from deployments.errors import UxoError


class BackgroundEnded(UxoError):
    """The background work of this process has ended; the process should be replaced."""


class Background:
    """Runs one coroutine until it is closed."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start at once.

        Args:
            name: of the thread, for people who look at stacks.
            work: makes the coroutine; it runs until it is cancelled, and tidies up then.
        """
        self._work = work
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),), name=name, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise when the work has ended by itself.

        Raises:
            BackgroundEnded: when the thread is no longer alive.
        """
        if not self._thread.is_alive():
            raise BackgroundEnded

    def close(self, *, timeout_s: float) -> None:
        """Cancel the work and give it some time to tidy up."""
        self._is_closing = True  # seen by a thread that has not made its task yet
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout_s)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._work())
        if self._is_closing:
            self._task.cancel()
        await asyncio.wait([self._task])
