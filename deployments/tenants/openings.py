"""What an operator opened for one tenant on purpose: names and ranges that are not on the public internet.

    images.corp.example    that name, wherever in a private network it leads
    *.corp.example         every name below it, likewise
    10.20.0.0/16           every address of that range, whatever name led there

A name opens private networks alone, never loopback, link-local or metadata addresses: whoever answers for the name
would choose among them. Pure; resolves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

#: Most openings of one tenant.
MAX_OPENINGS = 64
#: Networks that are somebody's own: what a name that was opened may lead to.
#: Source: RFC 1918, section 3; RFC 6598, section 7; RFC 4193, section 3.1.
PRIVATE = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)*(?=[a-z0-9-]*[a-z]){_LABEL}", re.ASCII)


class OpeningInvalid(ValueError):
    """The text is neither a host name nor a range of addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One name or range that a tenant may reach besides the public internet."""

    #: The host name, lower case, or what all of them end in if it begins with ``*.``; empty for a range.
    name: str = ""
    #: The range; None for a name.
    network: Network | None = None

    def __str__(self) -> str:
        return self.name if self.network is None else str(self.network)

    def lets(self, host: str, address: Address, *, is_public: bool) -> bool:
        """Whether it lets its tenant dial an address, public or not, to which a host has led."""
        if self.network is not None:
            return address in self.network
        return self._is_of(host) and (is_public or any(address in network for network in PRIVATE))

    def _is_of(self, host: str) -> bool:
        host = host.removesuffix(".")
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name


def read_opening(text: str) -> Opening:
    """Read a name or a range.

    Raises:
        OpeningInvalid: when it is neither; a range whose address has bits behind its prefix is none.
    """
    try:
        return Opening(network=ip_network(text))
    except ValueError:
        pass
    if len(text) > 253 or not _NAME.fullmatch(text.lower()):
        raise OpeningInvalid(f"{text!r} is neither a host name nor a range of addresses such as 10.20.0.0/16")
    return Opening(name=text.lower())
