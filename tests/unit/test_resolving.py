"""How names are looked up by the system's resolver, without asking any name server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from deployments.outbound.client import resolve_by_system


@contextmanager
def a_busy_thread() -> Iterator[ThreadPoolExecutor]:
    """Yield a single thread that has something else to do until the end."""
    done = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as threads:
        threads.submit(done.wait)
        try:
            yield threads
        finally:
            done.set()


async def test_looking_up_needs_none_of_the_loops_threads() -> None:
    """A name is found while the threads that everything else uses are busy, so neither can hold up the other."""
    with a_busy_thread() as threads:
        asyncio.get_running_loop().set_default_executor(threads)

        found = await asyncio.wait_for(resolve_by_system("127.0.0.1", 80), 20)

    assert found == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".invalid"])
async def test_a_name_that_cannot_be_one_is_not_found(host: str) -> None:
    """A name that DNS cannot carry is the same OSError as one that is not there."""
    with pytest.raises(OSError, match="cannot be resolved"):
        await resolve_by_system(host, 80)
