"""A TCP proxy before the database that can be told to misbehave; knows nothing of what it carries.

    delay         every piece waits before it goes on
    throttle      bytes trickle
    black hole    nothing goes on, nobody is told; in the end the connections are reset
    cut           a connection is reset after a few more bytes
    reset         every connection is reset at once

A process of its own, so that a busy load client does not slow the database down: ``python -m acceptance.chaos.proxy
PORT UPSTREAM SEED`` reads lines like ``delay 1.5`` and answers each with how many connections it touched.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from random import Random

import uvloop
from acceptance.chaos.dice import dice
from acceptance.chaos.orders import environment

#: Bytes that are read at once.
PIECE_BYTES = 65_536
#: Bytes that trickle at once, and the pause after them in seconds: 20 kB/s.
TRICKLE_BYTES, TRICKLE_S = 1024, 0.05
#: Longest wait of a piece that is delayed, in seconds.
MAX_DELAY_S = 0.4
#: Most bytes that go on before a cut.
MAX_CUT_BYTES = 4000
#: Tells the kernel to reset a connection instead of ending it in good order. Source: Linux, socket(7), SO_LINGER.
_LINGER_0 = struct.pack("ii", 1, 0)


class Mischief(StrEnum):
    """How the proxy misbehaves."""

    #: Every piece waits.
    DELAY = "delay"
    #: Bytes trickle.
    THROTTLE = "throttle"
    #: Nothing goes on.
    BLACK_HOLE = "black hole"
    #: Connections end after a few more bytes.
    CUT = "cut"
    #: All connections end at once.
    RESET = "reset"


class _Reset(Exception):
    """This connection is to be reset."""


@dataclass(eq=False, slots=True, kw_only=True)
class _Link:
    """One connection through the proxy."""

    caller: asyncio.StreamWriter
    server: asyncio.StreamWriter
    left_bytes: int

    def reset(self) -> None:
        for writer in (self.caller, self.server):
            connected = writer.get_extra_info("socket")
            with suppress(OSError):
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            writer.transport.abort()


class FaultProxy:
    """Carries connections to one server."""

    def __init__(self, upstream_port: int, *, random: Random) -> None:
        """Take the server's port on this machine, and what decides about chances."""
        self._upstream_port = upstream_port
        self._random = random
        self._mischief: Mischief | None = None
        self._touched: set[_Link] = set()
        self._clear = asyncio.Event()
        self._clear.set()
        self._links: set[_Link] = set()

    def __repr__(self) -> str:
        """Say what it does."""
        return f"<FaultProxy [{len(self._links)} connections | {self._mischief or 'well-behaved'}]>"

    async def serve(self, port: int, orders: asyncio.StreamReader) -> None:
        """Carry connections that come in at a port of this machine, and misbehave on order, until there are no more."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", port)
        _say("ready")
        async for line in orders:
            mischief, for_s = line.decode().rsplit(maxsplit=1)
            _say(str(await self.misbehave(Mischief(mischief), for_s=float(for_s))))
        server.close()

    async def misbehave(self, mischief: Mischief, *, for_s: float) -> int:
        """Misbehave for a while, and return how many connections that touched."""
        self._mischief = mischief
        self._touched.clear()
        self._clear.clear()
        try:
            if mischief is Mischief.RESET:
                self._reset_all()
            else:
                await asyncio.sleep(for_s)
        finally:
            self._mischief = None
            self._clear.set()
        return len(self._touched)

    def _reset_all(self) -> None:
        self._touched.update(self._links)
        for link in list(self._links):
            link.reset()

    async def _carry(self, caller_in: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        try:
            server_in, server = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            caller.transport.abort()
            return
        link = _Link(caller=caller, server=server, left_bytes=self._random.randrange(MAX_CUT_BYTES))
        self._links.add(link)
        pumps = [asyncio.create_task(self._pump(link, *ends)) for ends in ((caller_in, server), (server_in, caller))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._links.discard(link)
            for writer in (caller, server):
                writer.close()

    async def _pump(self, link: _Link, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(PIECE_BYTES):
                if self._mischief is not None:
                    await self._torment(link, piece, target)
                target.write(piece)
                await target.drain()
        except (OSError, _Reset):
            link.reset()

    async def _torment(self, link: _Link, piece: bytes, target: asyncio.StreamWriter) -> None:
        self._touched.add(link)
        match self._mischief:
            case Mischief.DELAY:
                await asyncio.sleep(self._random.uniform(0, MAX_DELAY_S))
            case Mischief.THROTTLE:
                await asyncio.sleep(TRICKLE_S * (1 + len(piece) // TRICKLE_BYTES))
            case Mischief.BLACK_HOLE:
                await self._clear.wait()
                raise _Reset
            case Mischief.CUT:
                await self._cut(link, piece, target)

    async def _cut(self, link: _Link, piece: bytes, target: asyncio.StreamWriter) -> None:
        link.left_bytes -= len(piece)
        if link.left_bytes > 0:
            return
        target.write(piece[: len(piece) + link.left_bytes])
        with suppress(OSError):
            await target.drain()
        raise _Reset


class ProxyProcess:
    """The proxy as the harness sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        #: How often each mischief touched at least one connection.
        self.fired: Counter[str] = Counter()

    async def misbehave(self, mischief: Mischief, *, for_s: float) -> None:
        """Have it misbehave for a while."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{mischief} {for_s}\n".encode())
        self.fired[mischief] += int(await self.hear()) > 0

    async def hear(self) -> bytes:
        """Wait for its next line."""
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


@asynccontextmanager
async def open_proxy(port: int, upstream_port: int, *, seed: int) -> AsyncIterator[ProxyProcess]:
    """Run a proxy for the length of a block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "acceptance.chaos.proxy", str(port), str(upstream_port), str(seed)),
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the harness alone
    )
    proxy = ProxyProcess(process)
    await proxy.hear()
    try:
        yield proxy
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _serve(port: int, upstream_port: int, seed: int) -> None:
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    await FaultProxy(upstream_port, random=dice(seed)).serve(port, orders)


if __name__ == "__main__":
    uvloop.run(_serve(*(int(argument) for argument in sys.argv[1:])))
