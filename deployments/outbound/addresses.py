"""Which network addresses belong to the public internet: one pure question, answered from a table of our own.

The interpreter's own address flags are not asked: they differ between Python versions and let through shared,
translated and cloud-internal ranges.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

#: IPv4 ranges that are not public.
#: Source: IANA IPv4 Special-Purpose Address Registry, seen 2026-11; multicast from RFC 5771; the last two entries
#: are addresses at which clouds serve their own machines (Azure; Alibaba's and Oracle's lie in the ranges above).
SPECIAL_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",
    )
)

#: The only IPv6 space handed out for the public internet. Source: IANA IPv6 Global Unicast allocations.
GLOBAL_V6 = IPv6Network("2000::/3")

#: Ranges inside it that are not public: protocol assignments and Teredo, documentation, 6to4, AS112, documentation.
#: Source: IANA IPv6 Special-Purpose Address Registry, seen 2026-11.
SPECIAL_V6 = tuple(
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)

#: Prefixes behind which an IPv4 address stands in the last 32 bits and is what is really reached: IPv4-mapped
#: (RFC 4291) and the well-known NAT64 prefix (RFC 6052). Every other way to hide one is refused, whichever it is.
EMBEDDING_V6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))

#: Where other prefixes keep an IPv4 address: how many bits stand behind it, and what its bits are turned over with.
#: IPv4-compatible (RFC 4291, 2.5.5.1), IPv4-translated (RFC 2765, 2.1), NAT64 for local use (RFC 8215, and RFC 6052,
#: 2.2, for a prefix of 96 bits), 6to4 (RFC 3056, 2), and Teredo's server and client (RFC 4380, 4).
_HIDING_V6 = (
    (IPv6Network("::/96"), 0, 0),
    (IPv6Network("::ffff:0:0:0/96"), 0, 0),
    (IPv6Network("64:ff9b:1::/48"), 0, 0),
    (IPv6Network("2002::/16"), 80, 0),
    (IPv6Network("2001::/32"), 64, 0),
    (IPv6Network("2001::/32"), 0, 0xFFFFFFFF),
)

#: Bits 64 to 95 of an ISATAP address, whose last 32 bits are an IPv4 address. Source: RFC 5214, section 6.1.
_ISATAP_MARKS = (0x00005EFE, 0x02005EFE)


def is_public(address: str) -> bool:
    """Tell whether an address is one of the public internet; text that is no plain address is not.

    Args:
        address: an IPv4 or IPv6 address in its usual notation, without a zone id.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _is_public_v4(parsed) if isinstance(parsed, IPv4Address) else _is_public_v6(parsed)


def meanings(address: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """Return an address, and after it every IPv4 address that it may hide; nothing for text that is no address.

    Whether a tunnel or a translator stands ready to unwrap it, nobody here can know.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return ()
    return (parsed,) if isinstance(parsed, IPv4Address) else (parsed, *_hidden(parsed))


def _hidden(address: IPv6Address) -> Iterator[IPv4Address]:
    number = int(address)
    if any(address in network for network in EMBEDDING_V6) or _is_isatap(number):
        yield IPv4Address(number & 0xFFFFFFFF)
    for network, behind, turned in _HIDING_V6:
        if address in network:
            yield IPv4Address((number >> behind & 0xFFFFFFFF) ^ turned)


def _is_isatap(number: int) -> bool:
    return number >> 32 & 0xFFFFFFFF in _ISATAP_MARKS


def _is_public_v4(address: IPv4Address) -> bool:
    return not any(address in network for network in SPECIAL_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    number = int(address)
    if address.scope_id is not None or _is_isatap(number):
        return False
    if any(address in network for network in EMBEDDING_V6):
        return _is_public_v4(IPv4Address(number & 0xFFFFFFFF))
    return address in GLOBAL_V6 and not any(address in network for network in SPECIAL_V6)
