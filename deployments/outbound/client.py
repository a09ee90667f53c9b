"""The one guarded way to call an address that a tenant gave: to fetch a reference, to send a webhook, to put a picture.

    read the URL ─► resolve once ─► check every address ─► dial a checked one ─► answer
         ▲                                                                         │
         └──────────────── a redirect, where any may be followed ◄─────────────────┘

The very address that was checked is dialled, so a name cannot change its mind in between. Which addresses those are is
for ``rules``. Knows neither what it sends nor what an answer means.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin

import httpx
import structlog

from deployments.errors import AddressRefused, NotReached
from deployments.outbound.rules import Rules
from deployments.outbound.urls import UnreadableUrl, WebAddress, read_url
from deployments.tenants.openings import Opening

if TYPE_CHECKING:
    import ssl

log = structlog.get_logger()

#: Seconds in which somebody has to take up a connection.
CONNECT_S = 3.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: What goes wrong on a network; TimeoutError is an OSError.
_TROUBLE = (httpx.HTTPError, httpx.InvalidURL, OSError)
# Not the loop's own threads: a tenant's slow name server can hold one for a minute, and everything else needs those.
_RESOLVING = ThreadPoolExecutor(max_workers=8, thread_name_prefix="resolving")

#: Finds the addresses of a host: (name, port) to addresses in the order to try.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
#: Finds what was opened for a tenant.
OpeningsOf = Callable[[str], Awaitable[Collection[Opening]]]


async def nothing_opened(_tenant_id: str) -> Collection[Opening]:
    """Find that nothing was opened for anybody."""
    return ()


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
    #: The body as it was sent; empty for every status but 2xx, and where it is packed: nobody reads those.
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
        rules: Rules,
        *,
        openings_of: OpeningsOf = nothing_opened,
        total_s: float = 15.0,
        resolve: Resolve = resolve_by_system,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take what holds for every tenant, and what finds the openings of one; it is asked when the rules say no.

        ``total_s`` bounds a call from its name to the last byte of its answer, over all redirects; ``tls`` says which
        certificates are believed, usually those that the public believes.
        """
        self._rules = rules
        self._openings_of = openings_of
        self._total_s = total_s
        self._timeouts = {"connect": CONNECT_S, "read": total_s, "write": total_s, "pool": total_s}
        self._resolve = resolve
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._tenant_id = ""

    def of(self, tenant_id: str) -> Self:
        """Return the same client for the calls of one tenant, which reach what was opened for it."""
        client = copy(self)
        client._tenant_id = tenant_id  # noqa: SLF001 -- it is one of ours, and new
        return client

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
            Unavailable: when we cannot say now what was opened for the tenant; nobody was called.
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

    async def _addresses(self, target: WebAddress) -> Sequence[str]:
        found = await self._resolve(target.host, target.port)
        if any(self._rules.admit(target, ip) is None for ip in found) and self._tenant_id:
            openings = await self._openings_of(self._tenant_id)
        else:
            openings = ()
        for ip in found:
            opened = self._rules.admit(target, ip, openings)
            if opened is None:
                raise AddressRefused(self._rules.refusal(found))
            if opened:
                log.info("address_opened", tenant_id=self._tenant_id, host=target.host, address=ip, opening=opened)
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


def is_packed(headers: Mapping[str, str]) -> bool:
    """Whether a body is compressed although we asked that it be not: it may be a bomb, and nobody here unpacks one."""
    codings = headers.get("content-encoding", "").lower().split(",")
    return any(coding.strip() not in {"", "identity"} for coding in codings)


async def _read_body(response: httpx.Response, at_most: int) -> tuple[bytes, bool]:
    if not response.is_success or is_packed(response.headers):
        return b"", False
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > at_most:
        return b"", False
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > at_most:
            return bytes(content[:at_most]), False
    return bytes(content), True
