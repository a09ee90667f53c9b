"""The HTTP side: turns a request into a call, asks its dialect, performs the operation, and answers.

    authenticate ──► read the body ──► dialect.parse ──► perform ──► dialect.render

Whatever goes wrong is answered by the dialect, in its own words. This is the only file that knows a web framework.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from deployments.delivery.files import FilesSink, LinkExpired, LinkUnknown
from deployments.dialects.dialect import Call, Dialect, Reply, Route
from deployments.errors import BadCall, BodyTooLarge, CallRefused, InternalFault, MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from deployments.operations import Operations
    from deployments.tasks.store import TaskStore
    from deployments.tenants.keys import KeyRing

log = structlog.get_logger()

#: Bytes of the largest body. Four references of 10 MB as data URIs fit.
MAX_BODY_BYTES = 64 * 1024 * 1024
#: Bodies above this are parsed off the event loop, so that no other caller waits for them.
LARGE_BODY_BYTES = 256 * 1024
#: Seeds drawn here leave room for ``seed + i`` below 2**31, so that every client language can hold them.
MAX_FRESH_SEED = 2_147_483_639
#: What a host may look like when it becomes part of a link.
HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?")
#: A picture never changes, belongs to one tenant, and is nothing but a picture.
FILE_HEADERS = {"Cache-Control": "private, immutable", "X-Content-Type-Options": "nosniff"}
#: The methods a dialect may be addressed with.
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the ingress works through."""

    #: Carries out what callers ask for.
    operations: Operations
    #: Says who a caller is.
    keys: KeyRing
    #: Holds the pictures that are served from here.
    files: FilesSink
    #: Asked for its health.
    store: TaskStore
    #: Start of every absolute link; None means: as the caller addressed us.
    base_url: str | None = None


#: Opens the parts when the application starts and closes them when it ends.
OpenParts = Callable[[], AbstractAsyncContextManager[Parts]]
Endpoint = Callable[[Request], Awaitable[Response]]


def make_ingress(dialects: Sequence[Dialect], open_parts: OpenParts) -> FastAPI:
    """Build the web application that serves every dialect, the files, and health."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_parts() as parts:
            app.state.parts = parts
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_route("/files/{value}", serve_file, methods=["GET", "HEAD"])
    app.add_route("/healthz", report_health, methods=["GET", "HEAD"])
    for dialect in dialects:
        _add_dialect(app, dialect)
    return app


def _add_dialect(app: FastAPI, dialect: Dialect) -> None:
    """Serve a dialect's routes, and its own kind of 405 and 404 on them and below its roots."""
    for route in dialect.routes:
        app.add_route(route.path, _endpoint(dialect, route), methods=[route.method])
    for path in dict.fromkeys(route.path for route in dialect.routes):
        allowed = ", ".join(route.method for route in dialect.routes if route.path == path)
        app.add_route(path, _refusal(dialect, MethodNotAllowed(), {"Allow": allowed}), methods=METHODS)
    for root in dialect.roots:
        app.add_route(root + "/{rest:path}", _refusal(dialect, NotFound()), methods=METHODS)


def _endpoint(dialect: Dialect, route: Route) -> Endpoint:
    async def answer(request: Request) -> Response:
        call = read_call(request)
        try:
            return _respond(await _perform(dialect, route, call, request))
        except CallRefused as refusal:
            return _respond(dialect.render_refusal(refusal, call))
        except Exception:
            log.exception("call_failed", dialect=dialect.name, route=route.name)
            return _respond(dialect.render_refusal(InternalFault(), call))

    return answer


def _refusal(dialect: Dialect, refusal: CallRefused, headers: Mapping[str, str] = NO_HEADERS) -> Endpoint:
    async def answer(request: Request) -> Response:
        response = _respond(dialect.render_refusal(refusal, read_call(request)))
        response.headers.update(headers)
        return response

    return answer


async def _perform(dialect: Dialect, route: Route, call: Call, request: Request) -> Reply:
    """Do what one call asks for; strangers are turned away before their body is read."""
    parts: Parts = request.app.state.parts
    tenant_id = parts.keys.tenant_of(dialect.api_key(call))
    call = replace(call, base_url=parts.base_url or address_of(request), body=await read_body(request))
    is_large = len(call.body) > LARGE_BODY_BYTES
    operation = await asyncio.to_thread(dialect.parse, route, call) if is_large else dialect.parse(route, call)
    outcome = await parts.operations.perform(operation, tenant_id=tenant_id, base_url=call.base_url)
    return dialect.render(outcome, call)


def read_call(request: Request) -> Call:
    """Return the call without its body, which is read once its sender is known."""
    return Call(
        method=request.method,
        path=request.scope["path"],
        path_params={name: str(value) for name, value in request.path_params.items()},
        query=dict(request.query_params),
        headers=dict(request.headers),
        fresh_seed=1 + secrets.randbelow(MAX_FRESH_SEED),
    )


def address_of(request: Request) -> str:
    """Return the address by which the caller reached us, as the start of absolute links.

    Raises:
        BadCall: when the Host header is no host.
    """
    host = request.headers.get("host", "")
    if not HOST.fullmatch(host):
        raise BadCall("the Host header is not valid")
    return f"{request.scope['scheme']}://{host}"


async def read_body(request: Request) -> bytes:
    """Read the whole body.

    Raises:
        BodyTooLarge: as soon as the body, or the length it announces, passes the limit.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > MAX_BODY_BYTES):
        raise BodyTooLarge
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge
        chunks.append(chunk)
    return b"".join(chunks)


async def serve_file(request: Request) -> Response:
    """Serve a finished picture to whoever knows its name."""
    parts: Parts = request.app.state.parts
    try:
        file = await parts.files.open_link(request.path_params["value"])
    except LinkExpired as error:
        return JSONResponse({"detail": error.message}, status_code=410)
    except LinkUnknown as error:
        return JSONResponse({"detail": error.message}, status_code=404)
    return FileResponse(file.path, media_type=file.content_type, headers=FILE_HEADERS)


async def report_health(request: Request) -> Response:
    """Say whether calls can be answered."""
    parts: Parts = request.app.state.parts
    try:
        await parts.store.ping()
    except CallRefused as refusal:
        return JSONResponse({"status": "unavailable", "detail": refusal.message}, status_code=refusal.http_status)
    return JSONResponse({"status": "ok"})


def _respond(reply: Reply) -> Response:
    return Response(reply.body, status_code=reply.status, media_type=reply.content_type, headers=dict(reply.headers))
