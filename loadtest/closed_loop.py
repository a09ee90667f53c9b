"""Closed-loop load: each client calls again as soon as it was answered. Knows no service, only calls and addresses.

The HTTP client speaks just enough HTTP/1.1 for our own servers on loopback, because load and server share the cores:
a full client would cost as much CPU per call as the server does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

#: Seconds after which an answer is given up.
PATIENCE_S = 30.0

Client = Callable[[], Awaitable[object]]


class BadAnswer(Exception):
    """A server did not answer 2xx with a body of known length; a benchmark of failures says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a load did."""

    #: Duration of every call, in the order of their ends.
    durations_ms: Sequence[float]
    #: From the first call's start to the last one's end.
    wall_s: float


async def closed_loop(clients: Sequence[Client], *, seconds: float) -> Load:
    """Let every client call until the time is up; calls under way then are finished and counted, and one always is.

    Args:
        clients: one callable for each client that is to call at once.
        seconds: how long new calls are started.
    """
    started = time.monotonic()
    durations_ms: list[float] = []

    async def call_until_the_end(client: Client) -> None:
        while not durations_ms or time.monotonic() < started + seconds:
            called = time.monotonic()
            await client()
            durations_ms.append((time.monotonic() - called) * 1000)

    async with asyncio.timeout(seconds + PATIENCE_S), asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(call_until_the_end(client))
    return Load(durations_ms=durations_ms, wall_s=time.monotonic() - started)


@asynccontextmanager
async def http_clients(call: bytes, *, port: int, count: int) -> AsyncIterator[Sequence[Client]]:
    """Connect so many clients to a port of this machine, each to send the same bytes again and again."""
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connected(port)) for _ in range(count)]
        yield [partial(connection.exchange, call) for connection in connections]


def wire_call(method: str, path: str, *, key: str, body: bytes = b"") -> bytes:
    """Write a call as HTTP/1.1 bytes."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class Connection:
    """One kept-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def exchange(self, call: bytes) -> bytes:
        """Send a call and return the body of its answer.

        Raises:
            BadAnswer: with the answer's head, when it is not a 2xx of known length.
        """
        self._writer.write(call)
        await self._writer.drain()
        head = await self._reader.readuntil(b"\r\n\r\n")
        body = await self._reader.readexactly(body_length(head))
        if not head.startswith(b"HTTP/1.1 2"):
            raise BadAnswer(f"{head!r} {body[:500]!r}")
        return body


def body_length(head: bytes) -> int:
    """Return the length that an answer's head announces.

    Raises:
        BadAnswer: when it announces none.
    """
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise BadAnswer(repr(head))


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """Connect to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()
