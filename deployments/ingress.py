"""The HTTP side: turns a request into a call, asks its dialect, performs the operation, and answers.

    authenticate ──► receive the body ──► dialect.parse ──► perform ──► wait? ──► dialect.render

Whatever goes wrong is answered by the dialect, in its own words. Below this file nothing knows a web framework.
"""

from __future__ import annotations

import hashlib
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

from deployments.bodies import Bodies
from deployments.delivery.files import FilesSink, LinkExpired, LinkUnknown
from deployments.dialects.dialect import Call, Dialect, Reply, Route
from deployments.errors import BadCall, CallRefused, InternalFault, MethodNotAllowed, NotFound
from deployments.operations import Operation, Submit
from deployments.tasks.accept import OnceKey

if TYPE_CHECKING:
    from deployments.operations import Operations, Outcome
    from deployments.tasks.store import TaskStore
    from deployments.tenants.keys import KeyRing

log = structlog.get_logger()

#: Seeds drawn here leave room for ``seed + i`` below 2**31, so that every client language can hold them.
MAX_FRESH_SEED = 2_147_483_639
#: What a host may look like when it becomes part of a link.
HOST = re.compile(r"[A-Za-z0-9._\-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?")
#: Keeps a browser from running what it was told is a picture.
NOTHING_BUT_A_PICTURE = {"X-Content-Type-Options": "nosniff"}
#: The methods for which an address of a dialect names the ones it does answer.
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
#: What a caller may name a call by.
ONCE_KEY = re.compile(r"[\x20-\x7e]{1,255}")
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
            app.state.parts, app.state.bodies = parts, Bodies()
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_route("/files/{value}", serve_file, methods=["GET", "HEAD"])
    app.add_route("/healthz", report_health, methods=["GET", "HEAD"])
    for dialect in dialects:
        _add_dialect(app, dialect)
    for status in (NotFound.http_status, MethodNotAllowed.http_status):
        app.add_exception_handler(status, _refuse_in_the_words_of(dialects))
    return app


def _add_dialect(app: FastAPI, dialect: Dialect) -> None:
    """Serve a dialect's routes, and its own kind of 405 on them."""
    for route in dialect.routes:
        app.add_route(route.path, _endpoint(dialect, route), methods=[route.method])
    for path in dict.fromkeys(route.path for route in dialect.routes):
        allowed = ", ".join(route.method for route in dialect.routes if route.path == path)
        app.add_route(path, _refusal(dialect, MethodNotAllowed(), {"Allow": allowed}), methods=METHODS)


def _refuse_in_the_words_of(dialects: Sequence[Dialect]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answer for what no route answers, as the dialect does that owns the path."""

    async def answer(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", NotFound.http_status)
        refusal = MethodNotAllowed() if status == MethodNotAllowed.http_status else NotFound()
        owner = next((dialect for dialect in dialects if _owns(dialect, request.scope["path"])), None)
        if owner is None:
            return JSONResponse({"detail": refusal.message}, status_code=refusal.http_status)
        return _respond(owner.render_refusal(refusal, read_call(request)))

    return answer


def _owns(dialect: Dialect, path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in dialect.roots)


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
    tenant_id = await parts.keys.tenant_of(dialect.api_key(call))
    call = replace(call, base_url=parts.base_url or address_of(request))
    outcome = await _begin(dialect, route, call, request, tenant_id)
    if outcome.is_awaited:
        outcome = await parts.operations.wait(outcome, base_url=call.base_url)
    return dialect.render(outcome, call)


async def _begin(dialect: Dialect, route: Route, call: Call, request: Request, tenant_id: str) -> Outcome:
    """Read the body and perform what it asks for; the body is let go before anybody waits."""
    parts: Parts = request.app.state.parts
    bodies: Bodies = request.app.state.bodies
    announced = request.headers.get("content-length", "")
    async with bodies.receive(request.stream(), announced=announced) as body:
        whole = replace(call, body=body)
        operation = await bodies.read(lambda: counted_once(dialect.parse(route, whole), whole), size_bytes=len(body))
        return await parts.operations.perform(operation, tenant_id=tenant_id, base_url=call.base_url)


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
        raise BadCall("the Host header is not valid as part of a link; the operator can set UXO_PUBLIC_URL")
    return f"{request.scope['scheme']}://{host}"


def counted_once(operation: Operation, call: Call) -> Operation:
    """Note the ``Idempotency-Key`` under which a submission counts once; every dialect honours it.

    Raises:
        BadCall: when the key is empty, too long or not printable ASCII.
    """
    key = call.headers.get("idempotency-key")
    if key is None or not isinstance(operation, Submit):
        return operation
    if not ONCE_KEY.fullmatch(key):
        raise BadCall("Idempotency-Key must be 1 to 255 printable ASCII characters")
    # The body itself and not what was read from it: a seed that the caller leaves to us differs from call to call.
    said = hashlib.sha256(b"\0".join([call.method.encode(), call.path.encode(), call.body])).hexdigest()
    return replace(operation, once=OnceKey(key=key, fingerprint=said))


async def serve_file(request: Request) -> Response:
    """Serve a finished picture to whoever knows its name."""
    parts: Parts = request.app.state.parts
    try:
        file = await parts.files.open_link(request.path_params["value"])
    except LinkExpired as error:
        return JSONResponse({"detail": error.message}, status_code=410)
    except LinkUnknown as error:
        return JSONResponse({"detail": error.message}, status_code=404)
    headers = {"Cache-Control": f"private, max-age={file.lifetime_s}, immutable", **NOTHING_BUT_A_PICTURE}
    return FileResponse(file.path, media_type=file.content_type, headers=headers)


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
