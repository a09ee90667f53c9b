"""The Dialect protocol: a provider's HTTP language as a route table and pure functions.

A dialect translates and does nothing else: no I/O, no clock, no randomness, no web framework. What it would
have to ask the world for (the seed, the public address, the time) arrives in the call.

    call ──► place ──► route ──► api_key ──► parse ──► Operation ──► Outcome ──► render ──► reply
                                               └────► CallRefused ─────────────► render_refusal
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from deployments.errors import CallRefused
from deployments.operations.operation import Operation
from deployments.operations.outcome import Outcome, TaskOutcome

if TYPE_CHECKING:
    from deployments.tenants.webhook_keys import WebhookSigner

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
    #: Whether everybody may call it, without a key.
    is_public: bool = False
    #: Whether an upload token, shown in place of the key, opens it as well.
    takes_upload_token: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP call, or one frame of a WebSocket, as a dialect sees it."""

    #: HTTP method, upper case; ``FRAME`` for a frame of a WebSocket.
    method: str
    #: Path as it was placed.
    path: str
    #: Name of the route that answers it; empty where none does.
    route: str = ""
    #: Start of every absolute link to this service, without a trailing slash.
    base_url: str = ""
    #: The variable parts of the route's path.
    path_params: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: Query parameters; the last of a repeated one.
    query: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: Headers by lower-case name.
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: The raw body; empty before the caller is known.
    body: bytes = b""
    #: A seed in 1..2147483639 to use where the caller names none; drawn by the ingress.
    fresh_seed: int = 1
    #: A UUID v4 to use where the dialect has to name something; drawn by the ingress.
    fresh_uuid: str = "00000000-0000-4000-8000-000000000000"
    #: The moment of the call, in seconds since 1970.
    now_s: float = 0.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a webhook tells: the end of a task, or one picture of it."""

    #: The same in every repeat.
    id: str
    #: The ended task, with what its caller had sent.
    outcome: TaskOutcome
    #: Which picture is told, counted from 0; None where the task is told as a whole.
    picture: int | None = None
    #: Start of every absolute link, without a trailing slash.
    base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A webhook about to be sent."""

    #: Of the event; the same in every repeat.
    event_id: str
    #: Whose task it is about.
    tenant_id: str
    #: The task it is about.
    task_id: str
    #: The exact bytes that are sent.
    body: bytes
    #: The moment of sending, in whole seconds since 1970.
    sent_at_s: int


class Dialect(Protocol):
    """A provider's language."""

    #: Its name; stored with every task that came in it.
    name: str
    #: The paths it owns; whatever is not a route below one of them is answered in its error shape.
    roots: Sequence[str]
    #: Its addresses, the more specific first.
    routes: Sequence[Route]

    def api_key(self, call: Call) -> str | None:
        """Return the key the caller showed; None when it may be in the body, which is empty at first.

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


@runtime_checkable
class Placing(Protocol):
    """A dialect that is reached by other host names or through a proxy address as well."""

    def place(self, call: Call) -> str | None:
        """Return the path below its roots that a call means; None when the call means what it says.

        Raises:
            CallRefused: when the call must not be answered.
        """
        ...


@runtime_checkable
class Streaming(Protocol):
    """A dialect with routes that follow a task until it ends, as server-sent events."""

    def stream_headers(self, outcome: TaskOutcome, call: Call) -> Mapping[str, str]:
        """Return the headers of the answer in which a task is followed, besides those of any stream."""
        ...

    def render_progress(self, outcome: TaskOutcome, call: Call) -> str:
        """Write one event, with the blank line that ends it; empty when there is nothing to tell."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A dialect that sends webhooks."""

    def write_event(self, event: Event) -> bytes:
        """Write the body of a webhook; of one event always the same."""
        ...

    def sign(self, letter: Letter, signer: WebhookSigner) -> Mapping[str, str]:
        """Return the headers with which a receiver can tell that a webhook is ours."""
        ...


@runtime_checkable
class Conversing(Protocol):
    """A dialect that is spoken over WebSockets as well; each frame is a call to ``socket``."""

    #: Where the WebSocket is opened; its method is ``FRAME``.
    socket: Route

    def greet(self, call: Call) -> Reply | None:
        """Return the frame that answers a frame which did nothing but show a good key; None if it asks for more."""
        ...

    def render_part(self, outcome: Outcome | CallRefused, notes: Mapping[str, str], call: Call) -> Reply | None:
        """Write the frame for one part of a batch; None when there is nothing to say."""
        ...
