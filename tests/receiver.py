"""A real small HTTP server that takes what is sent to it, answers as it was told, and remembers all of it."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

#: Seconds that a test waits for something to arrive.
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One call that arrived."""

    #: Its request line.
    line: str
    #: Its headers by lower-case name.
    headers: Mapping[str, str]
    #: Its body.
    body: bytes

    @property
    def target(self) -> str:
        """Return path and query as they were sent."""
        return self.line.split()[1]


class Receiver:
    """A server on this machine; a path without an answer of its own is answered 200."""

    def __init__(self) -> None:
        self.answers: dict[str, Respond] = {}
        self.arrived: list[Arrival] = []
        self.open_now: Counter[str] = Counter()
        self.most_open: Counter[str] = Counter()
        self.port = 0
        self._changed = asyncio.Condition()

    def url(self, target: str = "/", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Return the address of a path of this server."""
        return f"{scheme}://{host}:{self.port}{target}"

    def says(self, target: str, *answers: bytes) -> None:
        """Answer a path's calls with these bytes, one after another, and the last for ever."""
        left = list(answers)

        async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()

        self.answers[target] = send

    def hangs(self, target: str) -> None:
        """Take a path's calls and say nothing until the caller has had enough."""

        async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        self.answers[target] = listen

    def drips(self, target: str, *, first: bytes) -> None:
        """Answer a path's calls with a beginning, and then a byte now and then until the caller has had enough."""

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(first)
            gone = asyncio.ensure_future(reader.read())
            while not gone.done():
                writer.write(b"x")
                await asyncio.wait([gone], timeout=0.02)

        self.answers[target] = drip

    async def until(self, count: int, target: str | None = None) -> list[Arrival]:
        """Wait until so many calls have arrived, at one path or at all, and return them."""

        def found() -> list[Arrival]:
            return [one for one in self.arrived if target in {None, one.target}]

        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(found()) >= count)
        return found()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            arrival = await _read(reader)
            self._note(arrival.target, 1)
            async with self._changed:
                self.arrived.append(arrival)
                self._changed.notify_all()
            await self.answers.get(arrival.target, _ok)(reader, writer)
            self._note(arrival.target, -1)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the caller had enough
        finally:
            writer.close()

    def _note(self, target: str, change: int) -> None:
        self.open_now[target] += change
        self.most_open[target] = max(self.most_open[target], self.open_now[target])


@asynccontextmanager
async def receiving(*, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()


def status(number: int, *headers: str, body: bytes = b"") -> bytes:
    """Write a whole answer."""
    return "\r\n".join([f"HTTP/1.1 {number} So", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


async def _ok(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(status(200))
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Arrival:
    line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Arrival(line=line, headers=headers, body=body)
