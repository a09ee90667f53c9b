"""Counts and times every call by its dialect, its route and its answer's status; opening a WebSocket is one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.telemetry.metrics import HTTP_REQUESTS, HTTP_SECONDS

#: Where a call's name lies in its scope.
_KEY = "uxo.named"


@dataclass(slots=True)
class _Named:
    """Under what a call is counted; whoever answers it says so."""

    dialect: str = "none"
    operation: str = "other"


class Metered:
    """An application whose calls are counted."""

    def __init__(self, app: ASGIApp) -> None:
        """Take the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, and count it when its answer has begun."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        named, started_s, has_begun = _Named(), time.monotonic(), False

        async def metered(message: Message) -> None:
            nonlocal has_begun
            status = None if has_begun else _status_of(message)
            has_begun = has_begun or status is not None
            await send(message)
            if status is not None:
                count(named.dialect, named.operation, status=status, since_s=started_s)

        try:
            await self._app({**scope, _KEY: named}, receive, metered)
        except Exception:
            if not has_begun:  # it is answered further out, and without a word of ours
                count(named.dialect, named.operation, status=500, since_s=started_s)
            raise


def _status_of(message: Message) -> int | None:
    """Return the HTTP status that a message answers with; None where it is no beginning of an answer."""
    match message["type"]:
        case "http.response.start" | "websocket.http.response.start":
            status: int = message["status"]
            return status
        case "websocket.accept":
            return HTTPStatus.SWITCHING_PROTOCOLS.value
        case "websocket.close":  # before it was accepted. Source: ASGI's WebSocket specification, "Close - send event"
            return HTTPStatus.FORBIDDEN.value
    return None


def name_call(scope: Scope, dialect: str, operation: str) -> None:
    """Say under what a call is counted.

    Args:
        scope: the call's.
        dialect: which is spoken; ``none`` where none is.
        operation: name of the route that answers it.
    """
    named = scope.get(_KEY)
    if isinstance(named, _Named):
        named.dialect, named.operation = dialect, operation


def count(dialect: str, operation: str, *, status: int, since_s: float) -> None:
    """Count a call that is answered now; ``since_s`` is when it came, by the monotonic clock."""
    HTTP_REQUESTS.add(dialect=dialect, operation=operation, status=str(status))
    HTTP_SECONDS.observe(time.monotonic() - since_s, dialect=dialect, operation=operation)
