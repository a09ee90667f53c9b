"""Reads and writes the headers on which providers agree: who calls, and when to come again. Knows no provider."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deployments.dialects.dialect import Call
from deployments.errors import Unauthenticated

_AUTHORIZATION = re.compile(r"(?P<scheme>[a-z]+) +(?P<key>\S+) *", re.ASCII | re.IGNORECASE)


def authorization_key(call: Call, *, schemes: tuple[str, ...] = ("bearer",)) -> str:
    """Return the key of the ``Authorization`` header.

    Args:
        call: with its headers.
        schemes: the words, in lower case, of which one has to stand before the key.

    Raises:
        Unauthenticated: when there is none, or it came in another scheme.
    """
    shown = _AUTHORIZATION.fullmatch(call.headers.get("authorization", ""))
    if shown is None or shown["scheme"].lower() not in schemes:
        raise Unauthenticated
    return shown["key"]


def retry_after(wait_s: int | None) -> Mapping[str, str]:
    """Return the header that says in how many seconds the same call may succeed; none where that is not known."""
    return {} if wait_s is None else {"Retry-After": str(wait_s)}
