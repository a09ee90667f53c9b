"""A replica that runs for the length of a block, without Ray around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from deployments.replica import Replica


@asynccontextmanager
async def running(replica: Replica) -> AsyncIterator[None]:
    """Run a replica; it is cut off, and has handed back what it held, when the block ends."""
    task = asyncio.create_task(replica.run(asyncio.Event()))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
