"""The Dialect protocol: a provider's HTTP language as a route table and pure functions.

A dialect translates and does nothing else: no I/O, no clock, no randomness, no web framework. What it would
have to ask the world for (the seed, the public address) arrives in the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from deployments.errors import CallRefused
from deployments.operations import Operation, Outcome

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One address of a dialect."""

    #: HTTP method, upper case.
    method: str
    #: Path with ``{names}`` for its variable parts.
    path: str
    #: The dialect's own name for what happens there.
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP call as a dialect sees it."""

    #: HTTP method, upper case.
    method: str
    #: Path as it came.
    path: str
    #: Start of every absolute link to this service, without a trailing slash.
    base_url: str = ""
    #: The variable parts of the route's path.
    path_params: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: Query parameters; the last of a repeated one.
    query: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: Headers by lower-case name.
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: The raw body.
    body: bytes = b""
    #: A seed in 1..2147483639 to use where the caller names none; drawn by the ingress.
    fresh_seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer."""

    #: HTTP status.
    status: int
    #: The raw body.
    body: bytes
    #: Headers besides the content type and length.
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: Media type of the body.
    content_type: str = "application/json"


class Dialect(Protocol):
    """A provider's language."""

    #: Its name; stored with every task that came in it.
    name: str
    #: The paths it owns; whatever is not a route below one of them is answered in its error shape.
    roots: Sequence[str]
    #: Its addresses, the more specific first.
    routes: Sequence[Route]

    def api_key(self, call: Call) -> str:
        """Return the key the caller showed.

        Raises:
            Unauthenticated: when there is none, or it came in another scheme.
        """
        ...

    def parse(self, route: Route, call: Call) -> Operation:
        """Read what the caller wants.

        Raises:
            CallRefused: when the call is malformed; the message names the field.
        """
        ...

    def render(self, outcome: Outcome, call: Call) -> Reply:
        """Write what came of it."""
        ...

    def render_refusal(self, refusal: CallRefused, call: Call) -> Reply:
        """Write why nothing came of it."""
        ...
