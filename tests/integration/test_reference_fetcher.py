"""Fetching references from a real server on this machine: what comes through, what is cut, and who is never dialled."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from deployments.outbound.client import GuardedClient
from deployments.outbound.references import MAX_BYTES, ReferenceFetcher, read_data_uri
from deployments.outbound.refused import ReferenceRefused
from deployments.outbound.rules import Rules

PICTURE = b"\x89PNG\r\n\x1a\n a picture"

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Origin:
    """A server that answers each path as it was told to, and remembers who came."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.heads: list[bytes] = []
        self.port = 0

    def url(self, path: str, *, host: str = "127.0.0.1") -> str:
        """Return the address of a path of this server."""
        return f"http://{host}:{self.port}{path}"

    def says(self, path: str, answer: bytes) -> None:
        """Answer a path with these bytes, status line and all."""

        async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            await writer.drain()

        self.answers[path] = send

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            await self.answers[self.heads[-1].split()[1].decode()](reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the caller had enough
        finally:
            writer.close()


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """Return a running server with nothing to say yet."""
    origin = Origin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    origin.port = server.sockets[0].getsockname()[1]
    yield origin
    server.close()
    await server.wait_closed()


@pytest.fixture(scope="module")
def fetcher() -> ReferenceFetcher:
    """Return a fetcher that may reach this machine; it keeps nothing, so one serves all tests."""
    return fetching(allows_private=True)


def ok(body: bytes, *headers: str) -> bytes:
    """Write a whole good answer."""
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    """Write a redirect."""
    return f"HTTP/1.1 {status} See there\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def fetching(*, allows_private: bool = False, **more: Any) -> ReferenceFetcher:
    """Return a fetcher; it may reach this machine only if that is said."""
    return ReferenceFetcher(GuardedClient(Rules(allows_private=allows_private), **more))


async def reason(fetcher: ReferenceFetcher, source: str) -> str:
    """Return why a reference is refused."""
    with pytest.raises(ReferenceRefused) as refusal:
        await fetcher.fetch(source, tenant_id="alice")
    return refusal.value.message


async def test_bytes_come_through(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """A good answer's body is returned as it was sent."""
    origin.says("/a.png", ok(PICTURE))

    assert await fetcher.fetch(origin.url("/a.png"), tenant_id="alice") == PICTURE


async def test_call_says_little_and_the_target_goes_out_as_written(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """The query is not re-quoted, and nothing of ours but the host, our name and what we take is told."""
    target = "/a%2Fb//c?key=%2f%2B+~'(x)&sig=a/b=="
    origin.says(target, ok(PICTURE))

    await fetcher.fetch(origin.url(target), tenant_id="alice")

    request_line, *headers = origin.heads[0].decode().rstrip().split("\r\n")
    assert request_line == f"GET {target} HTTP/1.1"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: image/png, image/jpeg, image/webp",
        "Connection: close",
        f"Host: 127.0.0.1:{origin.port}",
        "User-Agent: uxo-serve",
    ]


async def test_cookies_are_not_kept(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """A cookie that is set comes back neither at the next hop nor at the next fetch."""
    origin.says("/a", redirect("/b").replace(b"\r\n\r\n", b"\r\nSet-Cookie: who=you; Path=/\r\n\r\n"))
    origin.says("/b", ok(PICTURE, "Set-Cookie: who=you; Path=/"))

    await fetcher.fetch(origin.url("/a"), tenant_id="alice")
    await fetcher.fetch(origin.url("/b"), tenant_id="alice")

    assert len(origin.heads) == 3
    assert not any(b"cookie" in head.lower() for head in origin.heads)


async def test_checked_address_is_dialled(origin: Origin) -> None:
    """A name is resolved once, what came of it is dialled, and the server still sees the name."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    origin.says("/a.png", ok(PICTURE))
    fetcher = fetching(allows_private=True, resolve=resolve)

    await fetcher.fetch(origin.url("/a.png", host="pictures.invalid"), tenant_id="alice")

    assert asked == ["pictures.invalid"]
    assert f"Host: pictures.invalid:{origin.port}".encode() in origin.heads[0]


async def test_next_address_is_tried(origin: Origin) -> None:
    """When nobody answers at a host's first address, its second one is dialled."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]

    origin.says("/a.png", ok(PICTURE))
    fetcher = fetching(allows_private=True, resolve=resolve)

    assert await fetcher.fetch(origin.url("/a.png", host="pictures.invalid"), tenant_id="alice") == PICTURE


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
     "[64:ff9b::7f00:1]"],
)  # fmt: skip
async def test_private_address_is_never_dialled(origin: Origin, host: str) -> None:
    """However this machine is spelt, it is not reached: the listener sees no connection."""
    origin.says("/a.png", ok(PICTURE))
    fetcher = fetching()

    message = await reason(fetcher, origin.url("/a.png", host=host))

    assert message == "is not at a public address"
    assert origin.heads == []


async def test_one_private_address_among_public_ones_is_enough(origin: Origin) -> None:
    """A name that leads to a public address and to a private one is refused as a whole."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["93.184.215.14", "127.0.0.1"]

    fetcher = fetching(resolve=resolve)

    message = await reason(fetcher, origin.url("/a.png", host="pictures.invalid"))

    assert message == "is not at a public address"
    assert origin.heads == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed(origin: Origin, fetcher: ReferenceFetcher, status: int) -> None:
    """Three redirects of any kind are followed, relative ones too."""
    origin.says("/a", redirect("b", status))
    origin.says("/b", redirect(f"//127.0.0.1:{origin.port}/c?x", status))
    origin.says("/c?x", redirect(origin.url("/d"), status))
    origin.says("/d", ok(PICTURE))

    assert await fetcher.fetch(origin.url("/a"), tenant_id="alice") == PICTURE


async def test_fourth_redirect_is_not_followed(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """A loop ends after three redirects."""
    origin.says("/a", redirect("/a"))

    message = await reason(fetcher, origin.url("/a"))

    assert message == "redirects more than 3 times"
    assert len(origin.heads) == 4


async def test_redirect_is_checked_again(origin: Origin) -> None:
    """An allowed server cannot send us to an address that is not."""
    origin.says("/a", redirect(origin.url("/secret", host="127.0.0.2")))
    fetcher = ReferenceFetcher(GuardedClient(Rules(ports=range(65536), judge=lambda ip: ip == "127.0.0.1")))

    message = await reason(fetcher, origin.url("/a"))

    assert message == "is not at a public address"
    assert len(origin.heads) == 1


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://[", "http:\\\\127.0.0.1"]
)
async def test_redirect_to_no_plain_url(origin: Origin, fetcher: ReferenceFetcher, location: str) -> None:
    """A redirect is read as strictly as the caller's own URL."""
    origin.says("/a", redirect(location))

    assert await reason(fetcher, origin.url("/a")) == "redirects to something that is not a plain http or https URL"


async def test_redirect_without_a_location(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """A redirect to nowhere is told by its status."""
    origin.says("/a", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")

    assert await reason(fetcher, origin.url("/a")) == "answered 302"


@pytest.mark.parametrize("status", [204, 404, 500, 503])
async def test_other_status_is_told(origin: Origin, fetcher: ReferenceFetcher, status: int) -> None:
    """Any status but 200 is named, and the body that came with it is not used."""
    origin.says("/a", f"HTTP/1.1 {status} Sorry\r\nContent-Length: 0\r\n\r\n".encode())

    assert await reason(fetcher, origin.url("/a")) == f"answered {status}"


async def test_endless_body_is_cut(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """A body without an end is dropped once it is over the limit."""

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(1024 * 1024))
            await writer.drain()

    origin.answers["/endless"] = pour

    assert await reason(fetcher, origin.url("/endless")) == "is larger than 20 MiB"


async def test_announced_size_is_enough_to_refuse(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """A length over the limit is refused without waiting for a body, which never comes here."""

    async def announce(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_BYTES + 1}\r\n\r\n".encode())
        await reader.read()

    origin.answers["/huge"] = announce

    assert await reason(fetcher, origin.url("/huge")) == "is larger than 20 MiB"


async def test_largest_body_comes_through(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """Exactly 20 MiB are allowed."""
    origin.says("/large", ok(bytes(MAX_BYTES)))

    assert len(await fetcher.fetch(origin.url("/large"), tenant_id="alice")) == MAX_BYTES


async def test_body_longer_than_announced_is_cut(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """What comes after the announced length is not part of the body."""
    origin.says("/a", ok(PICTURE) + b"and more")

    assert await fetcher.fetch(origin.url("/a"), tenant_id="alice") == PICTURE


@pytest.mark.parametrize(
    "answer",
    [
        ok(PICTURE)[:-5],
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
async def test_broken_answer(origin: Origin, fetcher: ReferenceFetcher, answer: bytes) -> None:
    """An answer that is cut short, contradicts itself or is no HTTP could not be fetched."""
    origin.says("/a", answer)

    assert await reason(fetcher, origin.url("/a")) == "could not be fetched"


async def test_slow_body_is_given_up(origin: Origin) -> None:
    """A body that trickles is given up when the total time is over, however recently a byte came."""
    hung_up = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        gone = asyncio.ensure_future(reader.read())
        while not gone.done():
            writer.write(b"x")
            await asyncio.wait([gone], timeout=0.02)
        hung_up.set()

    origin.answers["/slow"] = drip
    fetcher = fetching(allows_private=True, total_s=0.2)

    async with asyncio.timeout(5):
        message = await reason(fetcher, origin.url("/slow"))
        await hung_up.wait()

    assert message == "could not be fetched"


async def test_silence_is_given_up(origin: Origin) -> None:
    """A server that takes the call and says nothing is given up in the same words."""

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    origin.answers["/silent"] = listen
    fetcher = fetching(allows_private=True, total_s=0.2)

    assert await reason(fetcher, origin.url("/silent")) == "could not be fetched"


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "identity, br", "x-unheard-of"])
async def test_compressed_body_is_refused(origin: Origin, fetcher: ReferenceFetcher, coding: str) -> None:
    """Whoever compresses although we asked them not to is not listened to: nothing is unpacked, nor even read."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n".encode() + gzip.compress(bytes(10_000)))
        await reader.read()

    origin.answers["/a"] = pour

    assert await reason(fetcher, origin.url("/a")) == "came compressed"


async def test_identity_is_no_compression(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """A body that says it is as it is comes through."""
    origin.says("/a", ok(PICTURE, "Content-Encoding: identity"))

    assert await fetcher.fetch(origin.url("/a"), tenant_id="alice") == PICTURE


async def test_refused_connection_and_unknown_name_sound_alike(origin: Origin, fetcher: ReferenceFetcher) -> None:
    """From the answer nobody can map a network: a closed port, a missing name and a name too long read the same."""
    sources = [origin.url("/", host="127.0.0.2"), "http://no-such-name.invalid/", f"http://{'a' * 64}.example/"]

    messages = {await reason(fetcher, source) for source in sources}

    assert messages == {"could not be fetched"}


async def test_proxy_variables_do_not_count(
    origin: Origin, fetcher: ReferenceFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment is not asked: the guard checks what it dials itself."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.2:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.2:1")
    origin.says("/a", ok(PICTURE))

    assert await fetcher.fetch(origin.url("/a"), tenant_id="alice") == PICTURE


@pytest.mark.parametrize("source", ["ftp://127.0.0.1/", "http://user@127.0.0.1/", "", "/etc/passwd"])
async def test_other_source_is_refused(fetcher: ReferenceFetcher, source: str) -> None:
    """What is neither a plain URL nor a data URI is refused, whatever networks are allowed."""
    assert await reason(fetcher, source) == "is not a plain http or https URL"


@pytest.mark.parametrize("head", ["data:image/png;base64,", "DATA:image/JPEG;Base64,", "data:image/svg+xml;base64,"])
async def test_data_uri(head: str) -> None:
    """A data URI of any image type holds its bytes; whether they are a picture is seen when they are decoded."""
    fetcher = fetching()

    assert await fetcher.fetch(head + base64.b64encode(PICTURE).decode(), tenant_id="alice") == PICTURE


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("data:text/html;base64,AAAA", "is not a base64 data URI of an image"),
        ("data:image/png,AAAA", "is not a base64 data URI of an image"),
        ("data:;base64,AAAA", "is not a base64 data URI of an image"),
        ("data:", "is not a base64 data URI of an image"),
        ("data:image/png;base64,AAA", "is not valid base64"),
        ("data:image/png;base64,AA==AA==", "is not valid base64"),
        ("data:image/png;base64,AA AA", "is not valid base64"),
        ("data:image/png;base64,AA-_", "is not valid base64"),
        ("data:image/png;base64,ÄÖÜß", "is not valid base64"),
        ("data:image/png;base64," + "A" * ((MAX_BYTES // 3 + 2) * 4), "is larger than 20 MiB"),
    ],
)
async def test_bad_data_uri(fetcher: ReferenceFetcher, source: str, message: str) -> None:
    """Other types, other encodings and lax base64 are refused, and so is a length over the limit before decoding."""
    assert await reason(fetcher, source) == message


def test_largest_data_uri() -> None:
    """Exactly 20 MiB fit into a data URI too."""
    source = "data:image/png;base64," + base64.b64encode(bytes(MAX_BYTES)).decode()

    assert len(read_data_uri(source)) == MAX_BYTES
