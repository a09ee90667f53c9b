"""The one guarded way to call an address that a tenant gave: to fetch a reference, to send a webhook, to put a picture.

    read the URL ─► resolve once ─► check every address ─► dial a checked one ─► answer
         ▲                                                                         │
         └──────────────── a redirect, where any may be followed ◄─────────────────┘

The very address that was checked is dialled, so a name cannot change its mind in between. Knows neither what it sends
nor what an answer means.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx

from deployments.errors import AddressRefused, NotReached
from deployments.outbound.addresses import is_public
from deployments.outbound.urls import UnreadableUrl, WebAddress, read_url

if TYPE_CHECKING:
    import ssl

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: What goes wrong on a network; TimeoutError is an OSError.
_TROUBLE = (httpx.HTTPError, httpx.InvalidURL, OSError)
# Not the loop's own threads: a tenant's slow name server can hold one for a minute, and everything else needs those.
_RESOLVING = ThreadPoolExecutor(max_workers=8, thread_name_prefix="resolving")

#: Finds the addresses of a host: (name, port) to addresses in the order to try.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for the addresses of a host.

    Raises:
        OSError: when it has none.
    """
    try:
        found = await asyncio.get_running_loop().run_in_executor(
            _RESOLVING, functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        )
    except UnicodeError as error:  # a label that DNS cannot carry
        raise OSError("the name cannot be resolved") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an address answered."""

    #: HTTP status.
    status: int
    #: Headers by lower-case name.
    headers: Mapping[str, str]
    #: The body as it was sent, never unpacked; empty for every status but 2xx, whose body nobody reads.
    content: bytes
    #: Whether that is all of the body: one that is longer than wanted is cut, or not read at all if it says so.
    is_whole: bool

    @property
    def is_good(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class GuardedClient:
    """Calls addresses of every tenant; keeps no cookie and no connection between two calls, and asks no proxy."""

    def __init__(
        self,
        *,
        allow_private_networks: bool,
        connect_s: float = 3.0,
        total_s: float = 15.0,
        resolve: Resolve = resolve_by_system,
        judge: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take the policy: ``judge`` allows addresses, unless ``allow_private_networks`` allows them all.

        ``total_s`` bounds a call from its name to the last byte of its answer, over all redirects; ``tls`` says which
        certificates are believed, usually those that the public believes.
        """
        self._allow_private_networks = allow_private_networks
        self._judge = judge
        self._total_s = total_s
        self._timeouts = {"connect": connect_s, "read": total_s, "write": total_s, "pool": total_s}
        self._resolve = resolve
        self._tls = tls or httpx.create_ssl_context(trust_env=False)

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        max_redirects: int,
        max_answer_bytes: int,
    ) -> Answer:
        """Call an address.

        Args:
            method: HTTP method, upper case.
            url: as the tenant wrote it; its path and query go out byte for byte.
            headers: besides the host, our name, and that nothing is to be compressed or kept open.
            body: what to send; empty for none.
            max_redirects: so many are followed, each checked anew; for 0 a redirect is an answer like any other. What
                is sent is sent again at each, so only a call without a body should follow any.
            max_answer_bytes: what is kept of a good answer's body.

        Raises:
            AddressRefused: when it may not be called; the message is a predicate for the tenant.
            NotReached: when no answer came, or not the whole of it in time; the status, if that came, is in it.
        """
        asked = _Asked(method=method, headers=headers, body=body, max_answer_bytes=max_answer_bytes)
        deadline = asyncio.get_running_loop().time() + self._total_s
        address = _read(url)
        for _ in range(max_redirects + 1):
            answer = await self._exchange(asked, address, deadline=deadline)
            location = answer.headers.get("location")
            if not max_redirects or answer.status not in _REDIRECTS or location is None:
                return answer
            address = _redirected(address, location)
        raise AddressRefused(f"redirects more than {max_redirects} times")

    async def _exchange(self, asked: _Asked, address: WebAddress, *, deadline: float) -> Answer:
        async with self._opened(asked, address, deadline=deadline) as response:
            try:
                async with asyncio.timeout_at(deadline):
                    content, is_whole = await _read_body(response, asked.max_answer_bytes)
            except _TROUBLE as error:
                raise NotReached(status=response.status_code) from error
        headers = dict(response.headers)
        return Answer(status=response.status_code, headers=headers, content=content, is_whole=is_whole)

    @asynccontextmanager
    async def _opened(self, asked: _Asked, address: WebAddress, *, deadline: float) -> AsyncIterator[httpx.Response]:
        # A bare transport has no cookie jar, no proxy variables, no headers of its own and follows nothing. It lives
        # for one hop, so no connection made for one host name is used for another at the same address.
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            try:
                async with asyncio.timeout_at(deadline):
                    response = await self._dial(transport, asked, address)
            except _TROUBLE as error:
                raise NotReached from error
            try:
                yield response
            finally:
                await response.aclose()

    async def _dial(self, transport: httpx.AsyncHTTPTransport, asked: _Asked, address: WebAddress) -> httpx.Response:
        failure: Exception = OSError("no address")
        for ip in await self._addresses(address):
            try:
                return await transport.handle_async_request(self._request(asked, address, ip))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, address: WebAddress) -> Sequence[str]:
        found = await self._resolve(address.host, address.port)
        if not self._allow_private_networks and not all(map(self._judge, found)):
            raise AddressRefused("is not at a public address")
        return found

    def _request(self, asked: _Asked, address: WebAddress, ip: str) -> httpx.Request:
        ours = {
            "Host": address.authority,
            "User-Agent": "uxo-serve",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        return httpx.Request(
            asked.method,
            httpx.URL(scheme=address.scheme, host=ip, port=address.port, path="/"),
            headers={**ours, **asked.headers},
            content=asked.body or None,
            extensions={
                # The certificate must be the name's although an address is dialled; the target goes out as written.
                "sni_hostname": address.host,
                "target": address.target.encode("ascii"),
                "timeout": self._timeouts,
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is sent at every hop."""

    #: HTTP method.
    method: str
    #: Headers besides those of every call.
    headers: Mapping[str, str]
    #: What to send.
    body: bytes
    #: What is kept of a good answer's body.
    max_answer_bytes: int


def _read(url: str) -> WebAddress:
    try:
        return read_url(url)
    except UnreadableUrl as error:
        raise AddressRefused(str(error)) from error


def _redirected(address: WebAddress, location: str) -> WebAddress:
    try:
        target = read_url(urljoin(str(address), location))
    except ValueError as error:  # also what urljoin says of brackets it cannot read
        raise AddressRefused("redirects to something that is not a plain http or https URL") from error
    if address.scheme == "https" and target.scheme == "http":
        raise AddressRefused("redirects from https to http")
    return target


async def _read_body(response: httpx.Response, at_most: int) -> tuple[bytes, bool]:
    if not response.is_success:
        return b"", False
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > at_most:
        return b"", False
    content = bytearray()
    async for chunk in response.aiter_raw():  # raw: a compressed body is a bomb, and nobody here needs one
        content += chunk
        if len(content) > at_most:
            return bytes(content[:at_most]), False
    return bytes(content), True
