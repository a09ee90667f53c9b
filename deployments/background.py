"""A coroutine on an event loop of its own thread: how a Serve deployment that nobody calls does its work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from deployments.errors import UxoError

log = structlog.get_logger()


class BackgroundEnded(UxoError):
    """The background work of this process has ended; the process should be replaced."""


class Background:
    """Runs one coroutine until it is told to stop."""

    def __init__(self, name: str, work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        """Start at once.

        Args:
            name: of the thread, for people who look at stacks.
            work: makes the coroutine; it runs until the event it is given is set, and then ends what it has begun.
        """
        self._work = work
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
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
        """Tell the work to stop and give it some time to end."""
        self._is_closing = True  # seen by a thread that has no loop yet
        if self._loop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has closed in this very moment
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout_s)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._is_closing:
            self._stopping.set()
        try:
            await self._work(self._stopping)
        except Exception:  # the end of this thread is noticed by check; why it ended would be lost with the thread
            log.exception("background_broke", thread=self._thread.name)
