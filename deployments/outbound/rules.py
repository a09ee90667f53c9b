"""Where outgoing calls may go: which ports, which addresses, and what was opened on purpose. Pure; resolves no name.

    denied? ─► opened for this tenant? ─► a port of the list, at a public address?

What is denied stays so whatever else is open, unless a tenant was given that very range.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Self

from deployments.outbound.addresses import is_public, meanings
from deployments.outbound.urls import WebAddress
from deployments.tenants.openings import Address, Network, Opening

if TYPE_CHECKING:
    from deployments.settings import Settings

#: Ports of the web. Source: IANA service names, seen 2026-11: http, https, and https where 443 is taken.
WEB_PORTS = frozenset({80, 443, 8443})
#: Why an address is refused, as predicates for its tenant; that it is denied says as little as that it is private.
NOT_PUBLIC, NOT_A_WEB_PORT = "is not at a public address", "is at a port that is not open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for the calls of every tenant."""

    #: TCP ports that may be dialled.
    ports: Collection[int] = WEB_PORTS
    #: Ranges that are nobody's to dial, such as those of the cluster's own pods and services.
    denied: Sequence[Network] = ()
    #: Whether every port and every address may be dialled but those that are denied.
    allows_private: bool = False
    #: Tells public addresses from others.
    judge: Callable[[str], bool] = is_public

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Return what the settings let through."""
        return cls(
            ports=settings.ports_out,
            denied=settings.networks_denied,
            allows_private=settings.allow_private_networks,
        )

    def admit(self, target: WebAddress, ip: str, openings: Collection[Opening] = ()) -> str | None:
        """Decide whether an address to which a URL has led may be dialled.

        Args:
            target: what the URL says.
            ip: an address of its host.
            openings: what was opened for the tenant who asks.

        Returns:
            What was opened on purpose and lets the call through; empty where everybody may make it, None where nobody.
        """
        is_denied, is_public = self._denies(ip), self.judge(ip)
        if is_public and target.port in self.ports and not is_denied:
            return ""
        if self.allows_private and not is_denied:
            return "UXO_ALLOW_PRIVATE_NETWORKS"
        for opening in openings:
            # A name does not say where it leads, so it opens nothing that is denied.
            may_open = opening.network is not None or not is_denied
            if may_open and opening.lets(target.host, _reached(ip), is_public=is_public):
                return str(opening)
        return None

    def objection(self, target: WebAddress, openings: Collection[Opening] = ()) -> str | None:
        """Say why a URL is refused wherever its name leads; None when that must be seen first, or it is allowed."""
        ip = literal(target)
        if ip is not None:
            return self.refusal([ip]) if self.admit(target, ip, openings) is None else None
        # Any opening may turn out to be of the address that the name leads to.
        may_dial = target.port in self.ports or self.allows_private or openings
        return None if may_dial else NOT_A_WEB_PORT

    def refusal(self, ips: Collection[str]) -> str:
        """Say why a host at these addresses is refused, in words for the tenant."""
        are_public = all(self.judge(ip) and not self._denies(ip) for ip in ips)
        return NOT_A_WEB_PORT if are_public else NOT_PUBLIC

    def _denies(self, ip: str) -> bool:
        return any(one in network for one in meanings(ip) for network in self.denied)


def literal(target: WebAddress) -> str | None:
    """Return the address that a URL itself names; None when only a resolver can say where it leads."""
    host = target.host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"  # whatever a resolver says of it. Source: RFC 6761, section 6.3
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _reached(ip: str) -> Address:
    """Return whom a dialled address reaches: for an IPv4 address in IPv6 notation, that one."""
    address = ip_address(ip)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
