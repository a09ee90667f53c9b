"""A proxy before an S3 server that misbehaves in one way, for the first calls about each object, and is honest after.

It knows the server's key, for one fault stores half of what it was given and says that all is well.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from urllib.parse import urlsplit

from s3_server import S3Server

#: Calls about one object that go wrong.
BAD_CALLS = 3
#: Bytes of a head that are read at most.
MAX_HEAD_BYTES = 65536

_LINGER = struct.pack("ii", 1, 0)  # a close that resets the connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call as it came."""

    #: ``PUT`` or another.
    method: str
    #: What stands in its first line.
    target: str
    #: Its first line and headers, with the empty line.
    head: bytes
    #: Its body, or as much as was read of it.
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One call with what a fault may do about it."""

    #: The call.
    asked: Asked
    #: Takes the answer.
    writer: asyncio.StreamWriter
    #: Where the bytes really go.
    proxy: FaultProxy


class FaultProxy:
    """Misbehaves towards each object at first."""

    def __init__(self, server: S3Server, fault: Fault) -> None:
        self._server = server
        self._fault = fault
        self._calls: Counter[str] = Counter()
        self._stale: dict[str, bytes] = {}
        self._serving: set[asyncio.Task[None]] = set()
        # What a caller has given up must not come to pass after what it asked for later.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: How often it has misbehaved.
        self.misdeeds = 0

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one call beside all others, and close."""
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def end(self) -> None:
        """Leave every call that is still being answered."""
        serving = list(self._serving)
        for each in serving:
            each.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            asked = await _read_head(reader)
            self._calls[asked.target] += 1
            is_bad = self._calls[asked.target] <= BAD_CALLS
            if b"expect:" in asked.head.lower():
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            parts = 2 if is_bad and self._fault is reset_mid_body else 1
            asked = replace(asked, body=await reader.readexactly(_length_of(asked.head) // parts))
            await self._answer(Exchange(asked=asked, writer=writer, proxy=self), is_bad=is_bad)
            await writer.drain()

    async def _answer(self, exchange: Exchange, *, is_bad: bool) -> None:
        if is_bad:
            self.misdeeds += 1
            await self._fault(exchange)
            return
        answer = await self.forward(exchange.asked)
        self._stale.setdefault(exchange.asked.method, answer)
        exchange.writer.write(answer)

    async def forward(self, asked: Asked) -> bytes:
        """Pass a call on and return the whole answer; only the connection is changed, so its signature holds."""
        address = urlsplit(self._server.url)
        async with self._turns[asked.target]:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            head = asked.head.replace(b"Expect: 100-continue\r\n", b"")
            writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + asked.body)
            answer = await reader.read()
            writer.close()
            return answer

    async def store_half(self, asked: Asked) -> None:
        """Place the first half of a picture, with the server's own key."""
        _, bucket, key = asked.target.split("/", 2)
        half = asked.body[: len(asked.body) // 2]
        async with self._turns[asked.target]:
            await asyncio.to_thread(lambda: self._server.client().put_object(Bucket=bucket, Key=key, Body=half))

    def stale(self, method: str) -> bytes | None:
        """Return a good answer that another object has had."""
        return self._stale.get(method)


Fault = Callable[[Exchange], Awaitable[None]]


@asynccontextmanager
async def misbehaving(server: S3Server, fault: Fault) -> AsyncIterator[tuple[FaultProxy, str]]:
    """Run a proxy before a server, and return it with its address."""
    proxy = FaultProxy(server, fault)
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=MAX_HEAD_BYTES)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy, f"http://127.0.0.1:{port}"
    finally:
        listening.close()
        await proxy.end()


async def _read_head(reader: asyncio.StreamReader) -> Asked:
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b" ", 2)
    return Asked(method=method.decode(), target=target.decode(), head=head, body=b"")


def _length_of(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


def _says(status: str, *headers: str, body: str = "") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, "", body]).encode()


def _refuses(status: str, code: str, *headers: str) -> Fault:
    async def answer(exchange: Exchange) -> None:
        body = "" if exchange.asked.method == "HEAD" else f"<Error><Code>{code}</Code></Error>"
        exchange.writer.write(_says(status, *headers, body=body))

    return answer


async def reset_mid_body(exchange: Exchange) -> None:
    """Reset the connection with half of the body still to come."""
    connection = exchange.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    exchange.writer.transport.abort()


async def never_answers(exchange: Exchange) -> None:  # noqa: ARG001 -- every fault takes it
    """Say nothing, ever."""
    await asyncio.Event().wait()


async def drips(exchange: Exchange) -> None:
    """Send the true answer, a byte each second."""
    for byte in await exchange.proxy.forward(exchange.asked):
        exchange.writer.write(bytes([byte]))
        await exchange.writer.drain()
        await asyncio.sleep(1)


async def stores_nothing(exchange: Exchange) -> None:
    """Say that all is well, with the right digest, and store nothing."""
    digest = hashlib.md5(exchange.asked.body, usedforsecurity=False).hexdigest()
    exchange.writer.write(_says("200 OK", f'ETag: "{digest}"'))


async def stores_half(exchange: Exchange) -> None:
    """Say that all is well, and store half of it; what is asked afterwards is answered truly."""
    if exchange.asked.method != "PUT":
        exchange.writer.write(await exchange.proxy.forward(exchange.asked))
        return
    await exchange.proxy.store_half(exchange.asked)
    await stores_nothing(exchange)


async def speaks_nonsense(exchange: Exchange) -> None:
    """Send what is no HTTP, as a TLS server's alert would be."""
    exchange.writer.write(b"\x15\x03\x03\x00\x02\x02\x28" * 9)


async def hangs_up(exchange: Exchange) -> None:
    """Close without a word."""
    exchange.writer.close()


async def half_an_answer(exchange: Exchange) -> None:
    """Break off in the middle of the true answer."""
    answer = await exchange.proxy.forward(exchange.asked)
    exchange.writer.write(answer[: len(answer) // 2])


async def stale_success(exchange: Exchange) -> None:
    """Give the answer that another object had; as long as there was none, an empty good one."""
    exchange.writer.write(exchange.proxy.stale(exchange.asked.method) or _says("200 OK", 'ETag: "0"'))


#: What can be wrong, by a name for tables.
FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "500": _refuses("500 Internal Server Error", "InternalError"),
        "503 SlowDown": _refuses("503 Slow Down", "SlowDown"),
        "403 clock skew": _refuses("403 Forbidden", "RequestTimeTooSkewed"),
        "307 elsewhere": _refuses("307 Temporary Redirect", "TemporaryRedirect", "Location: http://127.0.0.1:9/"),
        "reset mid-body": reset_mid_body,
        "never answers": never_answers,
        "a byte a second": drips,
        "200, nothing stored": stores_nothing,
        "200, half stored": stores_half,
        "no HTTP": speaks_nonsense,
        "hangs up": hangs_up,
        "half an answer": half_an_answer,
        "stale success": stale_success,
    }
)
