"""The one public server of the small world: it sends its callers elsewhere, holds them up, or answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from loadtest.ssrf.spellings import NAMED
from loadtest.ssrf.targets import ORIGIN_NAME

STATUSES = (301, 302, 303, 307, 308)
#: Redirects that must end without a forbidden connection, by what follows ``Location``; None for no such header.
REDIRECTS: Mapping[str, str | None] = {
    "private": "http://10.0.0.1/",
    "metadata": "http://169.254.169.254/latest/",
    "private name": f"http://10-0-0-1.{NAMED}/",
    "spelt": "http://0x7f.1/",
    "protocol-relative": "//127.0.0.1/",
    "scheme file": "file:///etc/passwd",
    "scheme ftp": "ftp://127.0.0.1/",
    "port": f"http://{ORIGIN_NAME}:22/",
    "user": f"http://{ORIGIN_NAME}@127.0.0.1/",
    "loop": "",
    "none": None,
}
#: Answers that do not end as they should, by path.
STALLS: Mapping[str, tuple[bytes, bytes]] = {
    "/silent": (b"", b""),
    "/drip": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "/drip-head": (b"HTTP/1.1 200 OK\r\nX-A: ", b"y"),
    "/continue": (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "/endless": (b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)),
    "/endless-head": (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"y" * 8000 + b"\r\n"),
    "/chunk-bomb": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n", bytes(65536)),
    "/chunk-head": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "/short": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx", b""),
}


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be the public server: answer a call as its path says."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    path = head.split()[1]
    if path in STALLS:
        await _stall(reader, writer, *STALLS[path])
        return
    writer.write(_answer(path, head))
    await writer.drain()


def _answer(path: str, head: str) -> bytes:
    match path.strip("/").split("/"):
        case ["r", status, kind]:
            target = REDIRECTS[kind.replace("_", " ")]
            return _redirect(int(status), path if target == "" else target)
        case ["hops", count]:
            return _redirect(302, f"/hops/{int(count) - 1}" if int(count) else None) if int(count) else _ok()
        case ["to", "self"]:
            host = next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: "))
            return _redirect(302, f"http://{host}/")
        case ["to", "http"]:
            return _redirect(302, f"http://{ORIGIN_NAME}/")
    return _ok()


def _ok() -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\npicture"


def _redirect(status: int, target: str | None) -> bytes:
    location = "" if target is None else f"Location: {target}\r\n"
    return f"HTTP/1.1 {status} There\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


async def _stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes, more: bytes) -> None:
    writer.write(first)
    await writer.drain()
    if first.endswith(b"xx"):
        return
    gone = asyncio.ensure_future(reader.read())
    try:
        while not gone.done() and not writer.is_closing():
            writer.write(more)
            await writer.drain()
            await asyncio.wait([gone], timeout=0.02 if len(more) < 100 else 0)
    finally:
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
