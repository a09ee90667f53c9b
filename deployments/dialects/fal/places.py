"""Says which path below ``/fal`` a call means that came by one of fal's host names, bare, or through the proxy address.

fal has a host for each role and this server a prefix. Nothing is passed on to anybody: a proxied call to a host that
is not spoken here is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from deployments.dialects.dialect import Call
from deployments.dialects.fal.mistakes import MalformedCall
from deployments.errors import TargetRefused

RUN, QUEUE, REST, CDN, PROXY = "/fal/run", "/fal/queue", "/fal/rest", "/fal/cdn", "/fal/proxy"

#: The JavaScript package names here what it would have called without a proxy.
TARGET_HEADER = "x-fal-target-url"

_PROXIED: Mapping[str, str] = MappingProxyType(
    {"fal.run": RUN, "queue.fal.run": QUEUE, "rest.fal.ai": REST, "rest.alpha.fal.ai": REST}
)
#: What is served under each of fal's host names.
HOSTS: Mapping[str, str] = MappingProxyType({**_PROXIED, "v3.fal.media": CDN})
#: The words in which an operator says what a host of their own stands for.
ROLES: Mapping[str, str] = MappingProxyType({"run": RUN, "queue": QUEUE, "rest": REST, "cdn": CDN})
# What this server says about itself under every name: its prefixes, and the links to pictures that it hands out.
# ``/files/upload`` is fal's address for uploads, so no picture can have that name.
_OWN = re.compile(r"/fal(?:/.*)?|/uploads/.*|/files/(?!upload(?:/|$)).*", re.DOTALL)


def placed(call: Call, hosts: Mapping[str, str] = HOSTS) -> str | None:
    """Return the path that a call means, for a proxied one with the query it means; None when it says what it means.

    Args:
        call: with its headers.
        hosts: the prefix under which each host name is served.

    Raises:
        MalformedCall: when a proxied call does not say where it was going.
        TargetRefused: when it was going somewhere else.
    """
    if call.path == PROXY:
        return _through_proxy(call.headers.get(TARGET_HEADER, ""))
    if _OWN.fullmatch(call.path):
        return None
    host = call.headers.get("host", "").partition(":")[0].rstrip(".").lower()
    role = hosts.get(host)
    if role is None and call.path.startswith("/fal-ai/"):
        role = QUEUE if host.partition(".")[0] == "queue" else RUN
    return None if role is None else _below(role, call.path)


def _through_proxy(target: str) -> str:
    if not target:
        raise MalformedCall(f"the header {TARGET_HEADER} is missing")
    try:
        address = urlsplit(target)
    except ValueError as error:
        raise TargetRefused(f"{TARGET_HEADER} is no URL") from error
    role = _PROXIED.get(address.hostname or "")
    if role is None or address.scheme not in ("https", "http"):
        raise TargetRefused(f"{TARGET_HEADER} must lead to one of {', '.join(_PROXIED)}")
    path = _below(role, address.path)
    return f"{path}?{address.query}" if address.query else path


def _below(role: str, path: str) -> str:
    # Whatever speaks of a request that exists speaks to the queue.
    is_about_request = role == RUN and "/requests/" in path
    return f"{QUEUE if is_about_request else role}{path}"
