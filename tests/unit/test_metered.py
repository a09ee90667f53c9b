"""The counting of calls: it stands behind the answer, and not before it."""

from __future__ import annotations

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from deployments.ingress.metered import Metered
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import HTTP_REQUESTS


async def receive() -> Message:
    """Return an empty body."""
    return {"type": "http.request"}


async def test_a_call_is_counted_once_its_answer_has_begun() -> None:
    """When the answer's first message is sent the call is not counted yet; when its body is sent, it is."""
    labels = {"dialect": "none", "operation": "other", "status": "204"}
    counted = []

    async def send(_: Message) -> None:
        counted.append(value_of(HTTP_REQUESTS, **labels))

    before = value_of(HTTP_REQUESTS, **labels)
    await Metered(Response(status_code=204))({"type": "http"}, receive, send)

    assert counted == [before, before + 1]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (["websocket.accept", "websocket.send", "websocket.close"], "101"),
        (["websocket.close"], "403"),
        ([], "500"),
    ],
)
async def test_a_socket_is_counted_once_by_how_its_opening_was_answered(said: list[str], status: str) -> None:
    """Accepted it is a 101, closed before that a 403, and a 500 where nothing was answered but an error."""

    async def converse(_scope: Scope, _receive: Receive, send: Send) -> None:
        for each in said:
            await send({"type": each})
        raise ZeroDivisionError

    async def send(_: Message) -> None:
        """Take it."""

    before = counted_by_status()
    with pytest.raises(ZeroDivisionError):
        await Metered(converse)({"type": "websocket"}, receive, send)

    assert counted_by_status() == before | {status: before[status] + 1}


def counted_by_status() -> dict[str, float]:
    """Return what was counted of calls that no route has named."""
    labels = {"dialect": "none", "operation": "other"}
    return {status: value_of(HTTP_REQUESTS, status=status, **labels) for status in ("101", "403", "500")}
