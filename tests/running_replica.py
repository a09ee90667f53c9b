"""A replica that runs for the length of a block, without Ray around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from PIL import Image

from deployments.decoding.pixels import decode
from deployments.replica.replica import Replica


async def decode_here(content: bytes) -> Image.Image:
    """Decode a picture as the processes for it do, without one."""
    return await asyncio.to_thread(decode, content)


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
