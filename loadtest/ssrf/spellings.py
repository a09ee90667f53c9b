"""Ways to write a URL that leads to one address: what people type, parsers put up with, and attackers hope for.

    address ─► spellings of the host ─► URLs around each of them

Pure. Each URL is meant to lead to the address by at least one reader's rules, not by ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import product

#: A name that leads to a public address; it stands where a careless reader looks for the host.
DECOY = "origin.test"
#: Where our answerer of names leads ``<address, dots as dashes>.at.test``.
NAMED = "at.test"

_WRITE_BYTE: tuple[Callable[[int], str], ...] = (
    lambda number: f"{number}",
    lambda number: f"0{number:o}",
    lambda number: f"0x{number:x}",
    lambda number: f"0X{number:02X}",
    lambda number: f"{number:03d}",
    lambda number: f"00000{number:o}",
    lambda number: f"0x000000{number:x}",
    lambda number: f"{number + 256}",
)
#: Scripts in which digits have other shapes that some readers turn back: full width, circled, superscript, bold.
_DIGITS = ("０１２３４５６７８９", "⓪①②③④⑤⑥⑦⑧⑨", "⁰¹²³⁴⁵⁶⁷⁸⁹", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗")  # noqa: RUF001 -- that is the point
_DOTS = "。．｡"  # noqa: RUF001 -- as above
_PLACES = (
    "http://{host}",
    "https://{host}/",
    "HTTP://{host}/",
    "http://{host}:80/",
    "http://{host}:443/",
    "http://{host}:8443/",
    "http://{host}:22/",
    "http://{host}:/",
    "http://{host}:00080/",
    "http://{host}:80:80/",
    "http://{host}?",
    "http://{host}#",
    "http://{host}./",
    "http://{host}../",
    "http://.{host}/",
    "http://{host} /",
    "http://{host}\t/",
    "http://{host}\r\n/",
    "http://{host}\0/",
    "http://{host}%00/",
    "http://{host}%2f/",
    "http://{host}%20/",
    "http://{host}\\",
    "http:{host}",
    "http:/{host}/",
    "http:///{host}/",
    "http:////{host}/",
    "http:\\\\{host}\\",
    "http://\\{host}/",
    "//{host}/",
    "{host}",
    "{host}/",
    " http://{host}/",
    "\thttp://{host}/",
    "ht\ntp://{host}/",
    "http\uff1a//{host}/",
    "http://@{host}/",
    "http://:@{host}/",
    "http://user@{host}/",
    "http://user:word@{host}/",
    "http://{decoy}@{host}/",
    "http://{decoy}:80@{host}/",
    "http://{decoy}%40{host}/",
    "http://{decoy}\\@{host}/",
    "http://{decoy}#@{host}/",
    "http://{decoy}?@{host}/",
    "http://{decoy}/@{host}/",
    "http://{decoy};@{host}/",
    "http://{decoy}&@{host}/",
    "http://{decoy} @{host}/",
    "http://{decoy}\t@{host}/",
    "http://{host}@{decoy}/",
    "http://{host}#@{decoy}/",
    "http://{host}\\@{decoy}/",
    "http://{host}%2f@{decoy}/",
    "http://{host}:80#@{decoy}:80/",
    "http://{decoy}:80\\{host}/",
    "http://{decoy},{host}/",
    "http://{decoy}\r\nHost: {host}/",
    "http://[{host}]/",
    "http://[{host}/",
    "http://({host})/",
    "http://${{{host}}}/",
    "http://<{host}>/",
    "url:http://{host}/",
    "jar:http://{host}/!/",
    "ftp://{host}/",
    "file://{host}/",
    "gopher://{host}:80/_GET%20/",
    "dict://{host}:80/",
    "ldap://{host}/",
    "ws://{host}/",
    "javascript:http://{host}/",
)


def spellings(address: str) -> list[str]:
    """Write an address as URLs in every way that is known here, each once."""
    parsed = ip_address(address)
    hosts = list(dict.fromkeys(_hosts_v4(parsed) if isinstance(parsed, IPv4Address) else _hosts_v6(parsed)))
    plain = hosts[0]
    around = [place.format(host=plain, decoy=DECOY) for place in _PLACES]
    inside = [f"{start}{host}{end}" for host in hosts for start, end in _SHORT]
    return list(dict.fromkeys([*around, *inside]))


_SHORT = (("http://", "/"), ("https://", ":8443/a?b"), (f"http://{DECOY}@", "/"))


def _hosts_v4(address: IPv4Address) -> Iterator[str]:
    parts = list(address.packed)
    yield str(address)
    for writer in _WRITE_BYTE:
        yield ".".join(writer(part) for part in parts)
    for writers in product(_WRITE_BYTE[:3], repeat=4):
        yield ".".join(writer(part) for writer, part in zip(writers, parts, strict=True))
    for number, writer in product(_fewer_parts(address), _WRITE_BYTE[:5]):
        yield ".".join(writer(part) for part in number)
    yield str(int(address) + 2**32)
    yield from (str(address).translate(_shapes(digits)) for digits in _DIGITS)
    yield from (str(address).replace(".", dot) for dot in _DOTS)
    yield "".join(f"%{ord(letter):02x}" for letter in str(address))
    yield from (f"[{hidden}]" for hidden in _embedded(address))
    yield from (f"[::ffff:{address}%25lo]", f"[::{address}]", f"[::ffff:{address}]", f"[0:0:0:0:0:ffff:{address}]")
    yield from (f"{str(address).replace('.', '-')}.{NAMED}", f"{str(address).replace('.', '-')}.{NAMED}.".upper())


def _fewer_parts(address: IPv4Address) -> Iterator[tuple[int, ...]]:
    """Take an address in one, two or three numbers, the last of which stands for all that are missing."""
    number, parts = int(address), address.packed
    yield (number,)
    yield (parts[0], number & 0xFFFFFF)
    yield (parts[0], parts[1], number & 0xFFFF)


def _embedded(address: IPv4Address) -> Iterator[IPv6Address]:
    """Hide an IPv4 address in IPv6: compatible, mapped, translated, NAT64 twice, 6to4, Teredo, ISATAP."""
    number = int(address)
    for prefix in (
        "::",
        "::ffff:0:0",
        "::ffff:0:0:0",
        "64:ff9b::",
        "64:ff9b:1::",
        "2001:db8::5efe:0:0",
        "fe80::5efe:0:0",
    ):
        yield IPv6Address(int(IPv6Address(prefix)) | number)
    yield IPv6Address(int(IPv6Address("2002::")) | number << 80)
    yield IPv6Address(int(IPv6Address("2001::")) | (number ^ 0xFFFFFFFF))
    yield IPv6Address(int(IPv6Address("2001::")) | number << 64)


def _hosts_v6(address: IPv6Address) -> Iterator[str]:
    short, long = str(address), address.exploded
    yield f"[{short}]"
    for text in (short, long, short.upper(), long.upper()):
        yield from (f"[{text}]", text, f"[{text}", f"{text}]", f"[[{text}]]", f"[{text}].", f"[ {text} ]")
        yield from (f"[{text}%25lo]", f"[{text}%lo]", f"[{text}%2525lo]", f"[{text}/128]", f"%5b{text}%5d")
    yield from (f"[{short}]".translate(_shapes(digits)) for digits in _DIGITS)
    words = long.split(":")
    for cut in range(8):
        yield f"[{':'.join(word.lstrip('0') or '0' for word in words[:cut])}::{':'.join(words[cut:])}]"
        yield f"[{':'.join([*words[:cut], '0' + words[cut], *words[cut + 1 :]])}]"
    last = IPv4Address(int(address) & 0xFFFFFFFF)
    yield from (f"[{':'.join(words[:6])}:{last}]", f"[{':'.join(words[:6])}:{last}]".upper())
    yield f"{long.replace(':', '-')}.{NAMED}"


def _shapes(digits: str) -> dict[int, str]:
    return {ord(plain): shaped for plain, shaped in zip("0123456789", digits, strict=True)}
