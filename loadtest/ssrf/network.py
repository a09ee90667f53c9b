"""A network of its own in which every address is this machine: nobody outside is reached, and every call is seen.

    python ─► unshare (own network, own mounts) ─► every address is local ─► own names ─► listeners at all addresses

A connection is noted with the address it was made to, before anything is said on it, so whatever was not to be dialled
is seen if it is. Needs Linux, ``unshare``, ``mount`` and ``ip``; no privilege outside.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import cast

#: Ports that are listened at: those of the web, and one that is not to be dialled.
PORTS, TLS_PORT = (80, 443, 8443, 22), 443
_A, _AAAA = 1, 28
_COMMANDS = (
    "ip link set lo up",
    "ip route add local 0.0.0.0/0 dev lo",
    "ip -6 route add local ::/0 dev lo",
)

#: Tells the addresses of a name, for IPv6 if that is asked.
Answers = Callable[[bool], Sequence[str]]
#: Talks on one connection, to whose address it was made.
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


def enter(module: str, words: Sequence[str]) -> int:
    """Run a module again inside a network of its own; return its exit status."""
    command = ["unshare", "--map-root-user", "--net", "--mount", sys.executable, "-m", module, *words]
    return subprocess.run(command, check=False).returncode  # noqa: S603 -- our own command


def furnish() -> None:
    """Make every address this machine's, and ask for names here; only inside."""
    for command in _COMMANDS:
        subprocess.run(command.split(), check=True)  # noqa: S603 -- constants
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write("nameserver 127.0.0.1\noptions timeout:2 attempts:2\n")
    where = str(Path("/etc/resolv.conf").resolve())
    subprocess.run(["/usr/bin/mount", "--bind", file.name, where], check=True)  # noqa: S603 -- as above


class Names(asyncio.DatagramProtocol):
    """Answers for names over UDP, nothing of which may be kept; a name that is not there is no name."""

    def __init__(self) -> None:
        self.answers: dict[str, Answers] = {}
        self.asked: Counter[str] = Counter()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers go out by."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        name, kind, question = _question(data)
        found = self.answers.get(name)
        ips: Sequence[str] = ()
        if found is not None and kind in {_A, _AAAA}:
            self.asked[name] += kind == _A
            ips = [ip for ip in found(kind == _AAAA) if (":" in ip) == (kind == _AAAA)]
        flags = 0x8183 if found is None else 0x8180
        head = data[:2] + struct.pack(">HHHHH", flags, 1, len(ips), 0, 0)
        assert self._transport is not None  # noqa: S101 -- it has been set before anything can arrive
        self._transport.sendto(head + question + b"".join(_record(kind, ip) for ip in ips), addr)


class Listeners:
    """Listens at every address, and notes to which ones connections are made."""

    def __init__(self, talk: Talk, *, public: frozenset[str], tls: ssl.SSLContext) -> None:
        """Take what talks at the public addresses; at all others a secret is given away."""
        self._talk, self._public, self._tls = talk, public, tls
        self.dialled: Counter[tuple[str, int]] = Counter()

    @property
    def forbidden(self) -> int:
        """Count the connections to addresses that are not public, and to ports that are not the web's."""
        return sum(count for (ip, port), count in self.dialled.items() if ip not in self._public or port == 22)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Note a connection, then talk."""
        ip, port = writer.get_extra_info("sockname")[:2]
        self.dialled[str(ip_address(ip)), port] += 1
        with suppress(OSError, asyncio.IncompleteReadError, EOFError):
            if port == TLS_PORT:
                await writer.start_tls(self._tls)
            if ip in self._public:
                await self._talk(reader, writer)  # type: ignore[misc]  # it is a coroutine function
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        writer.close()


@asynccontextmanager
async def peopled(names: Names, listeners: Listeners) -> AsyncIterator[None]:
    """Run the answerer of names and the listeners; only inside."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: names, local_addr=("127.0.0.1", 53))
    async with AsyncExitStack() as stack:
        for host, port in ((host, port) for host in ("0.0.0.0", "::") for port in PORTS):  # noqa: S104 -- of this network
            server = await asyncio.start_server(listeners.serve, host, port, backlog=4096, limit=2**20)
            stack.callback(server.close)
        yield
    transport.close()


def _question(query: bytes) -> tuple[str, int, bytes]:
    """Read the name, the kind and the bytes of the only question in a query. Source: RFC 1035, section 4.1.2."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1").lower())
        at += length + 1
    return ".".join(labels), struct.unpack_from(">H", query, at + 1)[0], query[12 : at + 5]


def _record(kind: int, ip: str) -> bytes:
    """Write an address, not to be kept, for the name of the question. Source: RFC 1035, section 4.1.3."""
    packed = socket.inet_pton(socket.AF_INET if kind == _A else socket.AF_INET6, ip)
    return b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(packed)) + packed
