"""Receives webhooks on this machine, misbehaves as each address asks for, and writes down every one that arrives whole.

    /alice/wish-00010?first=hangs,answers%20500     hangs at the first try, answers 500 at the second, takes the third

An address belongs to one wish, so it is known whose webhook this is even if nobody heard which task the wish became.
Several ports stand for several hosts: one of them that hangs does not hold up the others. Knows no task.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from urllib.parse import parse_qs, quote, urlsplit
from zlib import crc32

from acceptance.chaos.journal import Journal

#: How many hosts there are, as far as a sender can tell.
HOSTS = 8


class Welcome(StrEnum):
    """What a webhook meets."""

    #: It is taken.
    TAKES = "takes"
    #: It is read, and answered that something is broken.
    BREAKS = "answers 500"
    #: It is read, and not answered.
    HANGS = "hangs"
    #: It is read, and the connection ends.
    HANGS_UP = "hangs up"
    #: It is read, and answered that nobody wants it, ever.
    IS_GONE = "answers 410"


_STATUSES: Mapping[Welcome, int] = {Welcome.TAKES: 200, Welcome.BREAKS: 500, Welcome.IS_GONE: 410}


class Letterbox:
    """A receiver of webhooks."""

    def __init__(self, journal: Journal) -> None:
        """Take the file in which every receipt is written down before it is answered."""
        self._journal = journal
        self._tries: Counter[str] = Counter()
        self._hosts: list[asyncio.Server] = []
        self._calls: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(self) -> None:
        """Begin to listen."""
        self._hosts = [await asyncio.start_server(self._receive, "127.0.0.1", 0) for _ in range(HOSTS)]

    async def close(self) -> None:
        """Hang up on everybody."""
        for host in self._hosts:
            host.close()
        for caller in self._calls.values():
            caller.transport.abort()
        await asyncio.gather(*self._calls)

    def address(self, tenant: str, key: str, welcome: Sequence[Welcome]) -> str:
        """Return the address for one wish, which welcomes its first webhooks so and takes those after them."""
        port = self._hosts[crc32(key.encode()) % HOSTS].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/{tenant}/{key}?first={quote(','.join(welcome))}"

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.current_task()
        assert call is not None
        self._calls[call] = writer
        call.add_done_callback(self._calls.pop)
        # Whoever sends may be killed at any moment: a webhook of which only a part arrives is none.
        with suppress(OSError, EOFError):
            target, headers, body = await _read(reader)
            welcome = self._note(target, headers, body)
            await _meet(welcome, reader, writer)
        writer.close()

    def _note(self, target: str, headers: Mapping[str, str], body: bytes) -> Welcome:
        """Write a webhook down, and return what it meets."""
        welcome = self._welcome(target)
        _, tenant, key = urlsplit(target).path.split("/")
        self._journal.write(
            "receipt",
            tenant=tenant,
            key=key,
            welcome=welcome,
            id=headers.get("webhook-id"),
            stamp=headers.get("webhook-timestamp"),
            signature=headers.get("webhook-signature"),
            body=body.decode("latin-1"),
        )
        return welcome

    def _welcome(self, target: str) -> Welcome:
        """Return what the next try at an address meets; whoever is gone stays so."""
        first = [Welcome(each) for each in parse_qs(urlsplit(target).query).get("first", [""])[0].split(",") if each]
        tries = self._tries[target]
        self._tries[target] += 1
        if first and first[-1] is Welcome.IS_GONE:
            tries = min(tries, len(first) - 1)
        return first[tries] if tries < len(first) else Welcome.TAKES


@asynccontextmanager
async def open_letterbox(journal: Journal) -> AsyncIterator[Letterbox]:
    """Receive webhooks for the length of a block."""
    letterbox = Letterbox(journal)
    await letterbox.open()
    try:
        yield letterbox
    finally:
        await letterbox.close()


async def _read(reader: asyncio.StreamReader) -> tuple[str, Mapping[str, str], bytes]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return first.split()[1], headers, await reader.readexactly(int(headers["content-length"]))


async def _meet(welcome: Welcome, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if welcome is Welcome.HANGS:
        await reader.read()  # until the sender has had enough
    elif welcome is not Welcome.HANGS_UP:
        writer.write(f"HTTP/1.1 {_STATUSES[welcome]} So\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
