"""The one thread that touches the device, and whether it still moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class DeviceThread:
    """Runs calls one after another on a thread of its own."""

    def __init__(self) -> None:
        """Start idle."""
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="device")
        self._started = 0
        self._ended = 0
        self._moved_at = time.monotonic()

    async def call(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Wait for the calls before this one, then for this one; what it raises is raised here."""
        if self._started == self._ended:
            self._moved_at = time.monotonic()
        self._started += 1
        try:
            return await asyncio.wrap_future(self._executor.submit(function, *args, **kwargs))
        finally:
            self._ended += 1
            self._moved_at = time.monotonic()

    @property
    def stuck_s(self) -> float:
        """Seconds since a call ended while others wait or run; 0 while there is nothing to do."""
        return 0.0 if self._started == self._ended else time.monotonic() - self._moved_at

    def close(self) -> None:
        """Start no further call; one that is under way cannot be interrupted and is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
