"""Reads the bodies of calls within bounds: of one, of all that are being answered, and of the time one may take.

A body in flight costs several times its size until its call is answered, as bytes, as text and as what was read from
it; so their sum is bounded before memory is. Knows no dialect and no web framework.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from deployments.errors import BodyTooLarge, BodyTooSlow, Overloaded

Operation = TypeVar("Operation")

#: Bytes of the largest body. Four references of 10 MB as data URIs fit.
MAX_BODY_BYTES = 64 * 1024 * 1024
#: Bytes of all bodies in flight in one process.
MAX_IN_FLIGHT_BYTES = 4 * MAX_BODY_BYTES
#: Seconds in which a body has to arrive: 64 MB from a line of 5 Mbit/s.
PATIENCE_S = 120.0
#: Seconds that a body may take without saying why, and what it has to bring in each second beyond them: half a Mbit.
GRACE_S, FLOOR_BYTES_PER_S = 20.0, 64 * 1024
#: Bodies above this are read off the event loop, so that no other caller waits for them.
LARGE_BODY_BYTES = 256 * 1024


class Bodies:
    """The bodies that one process is reading or answering."""

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BODY_BYTES,
        max_in_flight_bytes: int = MAX_IN_FLIGHT_BYTES,
        patience_s: float = PATIENCE_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """Start with none; the bounds are per body, for all of them, and in seconds for a body in all and its start."""
        self._max_bytes = max_bytes
        self._max_in_flight_bytes = max_in_flight_bytes
        self._patience_s = patience_s
        self._grace_s = grace_s
        self._in_flight_bytes = 0
        # One large body at a time: each step of reading one holds the interpreter, and small calls come in between.
        self._reading_large = asyncio.Lock()

    def __repr__(self) -> str:
        """Say how much is in flight."""
        return f"<Bodies [{self._in_flight_bytes} of {self._max_in_flight_bytes} bytes in flight]>"

    @asynccontextmanager
    async def receive(
        self, chunks: AsyncIterator[bytes], *, announced: str, max_bytes: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the whole body, which counts as in flight until the block ends.

        Args:
            chunks: the body as it arrives.
            announced: the ``Content-Length`` header, or what stands in for it.
            max_bytes: what this body may have at most, if that is less than any may.

        Raises:
            BodyTooLarge: as soon as the body, or the length it announces, passes the limit.
            BodyTooSlow: when it does not arrive in time.
            Overloaded: when there are too many bytes in flight to take more.
        """
        limit = self._max_bytes if max_bytes is None else min(max_bytes, self._max_bytes)
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit):
            raise BodyTooLarge
        body = bytearray()
        try:
            await self._fill(body, chunks, limit)
            yield bytes(body)
        finally:
            self._in_flight_bytes -= len(body)

    async def read(self, function: Callable[[], Operation], *, size_bytes: int) -> Operation:
        """Call what reads a body, off the event loop if that body is large."""
        if size_bytes <= LARGE_BODY_BYTES:
            return function()
        async with self._reading_large:
            return await asyncio.to_thread(function)

    async def _fill(self, body: bytearray, chunks: AsyncIterator[bytes], limit: int) -> None:
        began_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(began_s + self._allowed_s(0)) as deadline:
                async for chunk in chunks:
                    self._take(body, chunk, limit)
                    deadline.reschedule(began_s + self._allowed_s(len(body)))
        except TimeoutError as error:
            raise BodyTooSlow from error

    def _allowed_s(self, received_bytes: int) -> float:
        """Return how long a body may have taken once so much of it is there; dripping buys no time."""
        return min(self._grace_s + received_bytes / FLOOR_BYTES_PER_S, self._patience_s)

    def _take(self, body: bytearray, chunk: bytes, limit: int) -> None:
        if len(body) + len(chunk) > limit:
            raise BodyTooLarge
        if self._in_flight_bytes + len(chunk) > self._max_in_flight_bytes:
            raise Overloaded
        self._in_flight_bytes += len(chunk)
        body += chunk
