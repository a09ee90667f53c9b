"""The counting of calls: it stands behind the answer, and not before it."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Message

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
