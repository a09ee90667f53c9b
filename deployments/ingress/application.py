"""Builds the web application: every dialect's addresses, their descriptions, the pictures, uploads and health.

Whatever no route answers is refused by the dialect that owns the path, in its own words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware

from deployments.bodies import MAX_BODY_BYTES, Bodies
from deployments.dialects.dialect import Conversing, Dialect
from deployments.errors import MethodNotAllowed, NotFound
from deployments.ingress.answering import endpoint, refusal_endpoint
from deployments.ingress.browsing import add_pages
from deployments.ingress.calls import owner_of, read_call, respond
from deployments.ingress.files import receive_upload, refused, report_health, serve_file
from deployments.ingress.guarded import Guarded
from deployments.ingress.held import Held
from deployments.ingress.metered import Metered, name_call
from deployments.ingress.parts import OpenParts
from deployments.ingress.placing import Placed
from deployments.ingress.sockets import Sockets

#: The methods for which an address of a dialect names the ones it does answer.
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
#: What a page of a site that may ask can read of our answers.
EXPOSED_HEADERS = ["x-fal-request-id", "x-fal-error-type", "retry-after"]


def make_ingress(dialects: Sequence[Dialect], open_parts: OpenParts, *, origins: Sequence[str] = ()) -> FastAPI:
    """Build the web application that serves every dialect and what describes it, the files, and health.

    Args:
        dialects: what is spoken here.
        open_parts: opens what it works through.
        origins: of the sites whose pages may ask from a browser, ``*`` for any; a page that may, shows its key to
            whoever looks.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_parts() as parts:
            app.state.parts, app.state.bodies, app.state.held = parts, Bodies(), Held()
            # Whoever has not shown a key yet can fill this budget, and no other.
            app.state.strangers = Bodies(max_in_flight_bytes=2 * MAX_BODY_BYTES)
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(Placed, dialects=dialects)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(Guarded)
    app.add_middleware(Metered)
    app.add_route("/files/{value}", serve_file, methods=["GET", "HEAD"])
    app.add_route("/uploads/{token}/{value}", receive_upload, methods=["PUT"])
    app.add_route("/healthz", report_health, methods=["GET", "HEAD"])
    add_pages(app, dialects)
    for dialect in dialects:
        _add_dialect(app, dialect)
    for status in (NotFound.http_status, MethodNotAllowed.http_status):
        app.add_exception_handler(status, _refuse_in_the_words_of(dialects))
    return app


def _add_dialect(app: FastAPI, dialect: Dialect) -> None:
    """Serve a dialect's routes, its own kind of 405 on them, and its WebSocket if it has one."""
    for route in dialect.routes:
        app.add_route(route.path, endpoint(dialect, route), methods=[route.method])
    for path in dict.fromkeys(route.path for route in dialect.routes):
        allowed = ", ".join(route.method for route in dialect.routes if route.path == path)
        app.add_route(path, refusal_endpoint(dialect, MethodNotAllowed(), {"Allow": allowed}), methods=METHODS)
    if isinstance(dialect, Conversing):
        app.router.add_websocket_route(dialect.socket.path, Sockets(dialect).answer)


def _refuse_in_the_words_of(dialects: Sequence[Dialect]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answer for what no route answers, as the dialect does that owns the path."""

    async def answer(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", NotFound.http_status)
        refusal = MethodNotAllowed() if status == MethodNotAllowed.http_status else NotFound()
        owner = owner_of(request.scope["path"], dialects)
        if owner is None:
            return refused(refusal)
        name_call(request.scope, owner.name, "none")
        return respond(owner.render_refusal(refusal, read_call(request.scope)))

    return answer
