"""Fetches a reference picture from where a tenant says it is, and from nowhere a tenant should not reach.

Each hop resolves its host once, checks every address that came back and dials the very address it checked, so a
name cannot change its mind in between. What the bytes mean is for ``decoding``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import httpx

from deployments.outbound.addresses import is_public
from deployments.outbound.refused import ReferenceRefused
from deployments.outbound.urls import UnreadableUrl, WebAddress, read_url

#: Most bytes of one reference.
MAX_BYTES = 20 * 1024 * 1024
#: Redirects followed before giving up.
MAX_REDIRECTS = 3

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]{1,64};base64,", re.ASCII | re.IGNORECASE)
_TOO_LARGE = f"is larger than {MAX_BYTES // 1024**2} MiB"
# One sentence for every way a connection can fail: telling "refused" from "timed out" would let a tenant map networks.
_FAILED = "could not be fetched"

#: Finds the addresses of a host: (name, port) to addresses in the order to try.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for the addresses of a host.

    Raises:
        OSError: when it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that DNS cannot carry
        raise OSError("the name cannot be resolved") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class ReferenceFetcher:
    """Fetches references for every tenant; keeps nothing between two fetches."""

    def __init__(
        self,
        *,
        allow_private_networks: bool,
        connect_s: float = 3.0,
        total_s: float = 15.0,
        resolve: Resolve = resolve_by_system,
        judge: Callable[[str], bool] = is_public,
    ) -> None:
        """Take the policy: ``judge`` allows addresses, unless ``allow_private_networks`` allows them all."""
        self._allow_private_networks = allow_private_networks
        self._judge = judge
        self._total_s = total_s
        self._timeouts = {"connect": connect_s, "read": total_s, "write": total_s, "pool": total_s}
        self._resolve = resolve
        self._tls = httpx.create_ssl_context(trust_env=False)

    async def fetch(self, source: str) -> bytes:
        """Return the bytes of a reference.

        Args:
            source: an http(s) URL or a data URI.

        Raises:
            ReferenceRefused: when it may not or cannot be fetched, or is too large; its message is for the tenant.
        """
        if source[:5].lower() == "data:":
            return await asyncio.to_thread(read_data_uri, source)
        try:
            async with asyncio.timeout(self._total_s):
                return await self._follow(_read(source))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # TimeoutError is an OSError
            raise ReferenceRefused(_FAILED) from error

    async def _follow(self, address: WebAddress) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._get(address) as response:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTS or location is None:
                    return await _read_body(response)
            address = _redirected(address, location)
        raise ReferenceRefused(f"redirects more than {MAX_REDIRECTS} times")

    @asynccontextmanager
    async def _get(self, address: WebAddress) -> AsyncIterator[httpx.Response]:
        # A bare transport has no cookie jar, no proxy variables, no headers of its own and follows nothing. It lives
        # for one hop, so no connection made for one host name is used for another at the same address.
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            response = await self._dial(transport, address)
            try:
                yield response
            finally:
                await response.aclose()

    async def _dial(self, transport: httpx.AsyncHTTPTransport, address: WebAddress) -> httpx.Response:
        failure: Exception = OSError("no address")
        for ip in await self._addresses(address):
            try:
                return await transport.handle_async_request(self._request(address, ip))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, address: WebAddress) -> Sequence[str]:
        found = await self._resolve(address.host, address.port)
        if not self._allow_private_networks and not all(map(self._judge, found)):
            raise ReferenceRefused("is not at a public address")
        return found

    def _request(self, address: WebAddress, ip: str) -> httpx.Request:
        return httpx.Request(
            "GET",
            httpx.URL(scheme=address.scheme, host=ip, port=address.port, path="/"),
            headers={
                "Host": address.authority,
                "User-Agent": "uxo-serve",
                "Accept": "image/png, image/jpeg, image/webp",
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
            extensions={
                # The certificate must be the name's although an address is dialled; the target goes out as written.
                "sni_hostname": address.host,
                "target": address.target.encode("ascii"),
                "timeout": self._timeouts,
            },
        )


def _read(source: str) -> WebAddress:
    try:
        return read_url(source)
    except UnreadableUrl as error:
        raise ReferenceRefused(str(error)) from error


def _redirected(address: WebAddress, location: str) -> WebAddress:
    try:
        target = read_url(urljoin(str(address), location))
    except ValueError as error:  # also what urljoin says of brackets it cannot read
        raise ReferenceRefused("redirects to something that is not a plain http or https URL") from error
    if address.scheme == "https" and target.scheme == "http":
        raise ReferenceRefused("redirects from https to http")
    return target


async def _read_body(response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise ReferenceRefused(f"answered {response.status_code}")
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > MAX_BYTES:
        raise ReferenceRefused(_TOO_LARGE)
    content = bytearray()
    async for chunk in response.aiter_raw():  # raw: a compressed body is a bomb, and no picture needs one
        content += chunk
        if len(content) > MAX_BYTES:
            raise ReferenceRefused(_TOO_LARGE)
    return bytes(content)


def read_data_uri(source: str) -> bytes:
    """Return the content of a base64 data URI of an image type.

    Raises:
        ReferenceRefused: when it is another kind of data URI, no strict base64, or larger than 20 MiB.
    """
    head = _DATA_URI.match(source)
    if head is None:
        raise ReferenceRefused("is not a base64 data URI of an image")
    if len(source) - head.end() > (MAX_BYTES + 2) // 3 * 4:
        raise ReferenceRefused(_TOO_LARGE)
    try:
        return base64.b64decode(source[head.end() :], validate=True)
    except (ValueError, binascii.Error) as error:
        raise ReferenceRefused("is not valid base64") from error
