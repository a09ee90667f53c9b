"""The one thread that touches the device, and whether it still moves."""

from __future__ import annotations

import asyncio
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
        self._ended_before = 0

    async def call(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Wait for the calls before this one, then for this one; what it raises is raised here."""
        self._started += 1
        try:
            return await asyncio.wrap_future(self._executor.submit(function, *args, **kwargs))
        finally:
            self._ended += 1

    def has_moved(self) -> bool:
        """Whether a call ended since this was last asked, or none is waiting; False means that the device hangs."""
        moved = self._ended > self._ended_before or self._started == self._ended
        self._ended_before = self._ended
        return moved

    def close(self) -> None:
        """Start no further call; one that is under way cannot be interrupted and is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
