"""The least that Ray Serve can do with our calls: one deployment that answers them and does nothing else.

It is built with the same web framework and the same options as our ingress, so what that costs above this is ours.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from ray import serve
from ray.serve import Application

#: Bytes of an answer; our own, to a submission or a read, is about as long.
ANSWER_BYTES = 450
#: As many as our ingress holds at once.
MAX_ONGOING_CALLS = 1024


def build(_args: dict[str, Any]) -> Application:
    """Compose the application."""
    options = {"ray_actor_options": {"num_cpus": 0}, "max_ongoing_requests": MAX_ONGOING_CALLS}
    return serve.deployment(EchoDeployment, name="echo", **options).bind()


def make_echo_app() -> FastAPI:
    """Build the web application."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_route("/{rest:path}", answer, methods=["GET", "POST"])
    return app


@serve.ingress(make_echo_app)
class EchoDeployment:
    """The whole service."""


async def answer(request: Request) -> Response:
    """Answer with the start of the body, filled up to the length of one of our answers."""
    body = await request.body()
    return Response(body[:ANSWER_BYTES].ljust(ANSWER_BYTES), media_type="application/json")
