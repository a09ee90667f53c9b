"""Reads an http(s) URL so strictly that every other reader understands it the same way, or refuses it.

It says nothing about where a host leads; ``addresses`` judges that once the name is resolved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

_SHAPE = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?:#.*)?",
    re.ASCII | re.IGNORECASE,
)
# White space, control characters and backslashes are where URL readers disagree about which host is meant.
_AMBIGUOUS = re.compile(r"[\s\\\x00-\x20\x7f-\xa0\ud800-\udfff]")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}

#: Longest address that a caller may have called, in bytes.
MAX_CALLBACK_BYTES = 8 * 1024


class UnreadableUrl(ValueError):
    """The text is not an http(s) URL that every reader understands the same way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """An http(s) URL in parts."""

    #: ``http`` or ``https``.
    scheme: str
    #: Name or address as written, lower case; IPv6 without its brackets.
    host: str
    #: TCP port.
    port: int
    #: Path and query exactly as written, ASCII; what stands in the request line.
    target: str

    @property
    def authority(self) -> str:
        """Write host and port as the ``Host`` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def read_url(text: str) -> WebAddress:
    """Read an absolute http(s) URL; its fragment is dropped, its query kept byte for byte.

    Raises:
        UnreadableUrl: for any other scheme; for user names, backslashes, white space and control characters; for a
            host that is empty, not ASCII, percent-encoded or carries a zone id, or is an address written in an unusual
            way, such as ``127.1`` or ``0x7f000001``; for a port that is none.
    """
    shape = None if _AMBIGUOUS.search(text) else _SHAPE.fullmatch(text)
    if shape is None:
        raise UnreadableUrl("is not a plain http or https URL")
    scheme = shape["scheme"].lower()
    return WebAddress(
        scheme=scheme,
        host=_host(shape["host"].lower()),
        port=_DEFAULT_PORTS[scheme] if shape["port"] is None else _port(shape["port"]),
        target=_ascii(shape["path"] or "/") + _ascii(shape["query"] or ""),
    )


def read_callback(url: str) -> str:
    """Return the address that a caller wants called, as written, if ``read_url`` and every database can take it.

    Raises:
        UnreadableUrl: for what ``read_url`` refuses, and for more than printable ASCII or ``MAX_CALLBACK_BYTES``.
    """
    if len(url) > MAX_CALLBACK_BYTES or not _PRINTABLE.fullmatch(url):
        raise UnreadableUrl(f"is not printable ASCII of at most {MAX_CALLBACK_BYTES} bytes")
    read_url(url)
    return url


def _host(written: str) -> str:
    if not written.startswith("["):
        return _name(written)
    try:
        return str(IPv6Address(written[1:-1]))
    except ValueError as error:
        raise UnreadableUrl("has a host that is no IPv6 address") from error


def _name(written: str) -> str:
    """Return a name, or an address of four plain decimal numbers.

    Source: WHATWG URL, section 3.5, seen 2026-11: a host that ends in a number is an address. Every other spelling of
    one is understood by some readers and not by others.
    """
    last = written.removesuffix(".").rpartition(".")[2]
    if last and not _NUMBER.fullmatch(last):
        return written
    try:
        return str(IPv4Address(written))
    except ValueError as error:
        raise UnreadableUrl("has a host that is neither a name nor a plain address") from error


def _port(digits: str) -> int:
    if not 1 <= int(digits) <= 65535:
        raise UnreadableUrl("has a port outside 1 to 65535")
    return int(digits)


def _ascii(part: str) -> str:
    return "".join(letter if letter.isascii() else quote(letter) for letter in part)
