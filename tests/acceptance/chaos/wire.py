"""Just enough HTTP/1.1 for our own gateways on loopback: a full client would take more of two cores than they do."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

#: Seconds that a call may take before it counts as unanswered.
PATIENCE_S = 8.0

_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; status 0 says that none came."""

    #: HTTP status.
    status: int
    #: The body.
    body: bytes = b""


class Wire:
    """Calls to any of several gateways, over connections that are kept."""

    def __init__(self, ports: Sequence[int], *, random: Random) -> None:
        """Take the gateways' ports, and what decides where a call goes."""
        self._ports = ports
        self._random = random
        self._idle: dict[int, list[_Ends]] = defaultdict(list)

    async def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Make one call to one gateway; whatever goes wrong, no answer came."""
        port = self._random.choice(self._ports)
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return await self._send(port, "\r\n".join([*lines, "", ""]).encode() + body)

    def close(self) -> None:
        """Hang up."""
        for _, writer in [ends for idle in self._idle.values() for ends in idle]:
            writer.close()
        self._idle.clear()

    async def _send(self, port: int, call: bytes) -> Answer:
        with suppress(OSError, EOFError, TimeoutError, ValueError):
            async with asyncio.timeout(PATIENCE_S):
                return await self._exchange_with(await self._connect(port), port, call)
        return Answer(status=0)

    async def _exchange_with(self, ends: _Ends, port: int, call: bytes) -> Answer:
        """Exchange, and keep the connection for the next call; after any trouble, a cancel too, it is thrown away."""
        try:
            answer = await _exchange(*ends, call)
        except BaseException:
            ends[1].transport.abort()
            raise
        self._idle[port].append(ends)
        return answer

    async def _connect(self, port: int) -> _Ends:
        idle = self._idle[port]
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", port)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, call: bytes) -> Answer:
    writer.write(call)
    await writer.drain()
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    return Answer(status=int(first.split()[1]), body=await reader.readexactly(int(headers["content-length"])))
