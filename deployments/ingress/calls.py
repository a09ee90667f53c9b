"""Turns what the web framework received into a call as dialects see it, and a reply into what the framework sends."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fastapi import Response
from starlette.datastructures import Headers, QueryParams
from starlette.requests import HTTPConnection
from starlette.types import Scope

from deployments.clock import utc_now
from deployments.dialects.dialect import Call, Dialect, Reply, Route
from deployments.errors import BadCall
from deployments.operations.operation import Operation, Refuse, Submit
from deployments.tasks.accept import OnceKey

#: Seeds drawn here leave room for ``seed + i`` below 2**31, so that every client language can hold them.
MAX_FRESH_SEED = 2_147_483_639
#: What a host may look like when it becomes part of a link.
HOST = re.compile(r"[A-Za-z0-9._\-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?")
#: What a caller may name a call by.
ONCE_KEY = re.compile(r"[\x20-\x7e]{1,255}")
#: The schemes of links, by those of connections.
_SCHEMES: Mapping[str, str] = {"ws": "http", "wss": "https"}


def read_call(scope: Scope, route: Route | None = None, *, body: bytes = b"") -> Call:
    """Return a connection's call; without its body, which is read once its sender is known."""
    return Call(
        method=route.method if route is not None else scope["method"],
        path=scope["path"],
        route="" if route is None else route.name,
        path_params={name: str(value) for name, value in scope.get("path_params", {}).items()},
        query=dict(QueryParams(scope.get("query_string", b""))),
        headers=dict(Headers(scope=scope)),
        body=body,
        fresh_seed=1 + secrets.randbelow(MAX_FRESH_SEED),
        fresh_uuid=str(uuid.uuid4()),
        now_s=utc_now().timestamp(),
    )


def address_of(connection: HTTPConnection) -> str:
    """Return the address by which the caller reached us, as the start of absolute links.

    Raises:
        BadCall: when the Host header is no host.
    """
    host = connection.headers.get("host", "")
    if not HOST.fullmatch(host):
        raise BadCall("the Host header is not valid as part of a link; the operator can set UXO_PUBLIC_URL")
    scheme = connection.scope["scheme"]
    return f"{_SCHEMES.get(scheme, scheme)}://{host}"


def counted_once(operation: Operation, call: Call) -> Operation:
    """Note the ``Idempotency-Key`` under which a submission counts once; every dialect honours it.

    Raises:
        BadCall: when the key is empty, too long or not printable ASCII.
    """
    key = call.headers.get("idempotency-key")
    if key is None or not isinstance(operation, Submit | Refuse) or operation.once is not None:
        return operation
    if not ONCE_KEY.fullmatch(key):
        raise BadCall("Idempotency-Key must be 1 to 255 printable ASCII characters")
    # The body itself and not what was read from it: a seed that the caller leaves to us differs from call to call.
    asked = f"{call.method} {call.path} {sorted(call.query.items())}"
    said = hashlib.sha256(asked.encode("utf-8", "surrogatepass") + b"\0" + call.body).hexdigest()
    return replace(operation, once=OnceKey(key=key, fingerprint=said))


def owner_of(path: str, dialects: Sequence[Dialect]) -> Dialect | None:
    """Return the dialect that owns a path: the one with the longest root above it."""
    owners = [(len(root), dialect) for dialect in dialects for root in dialect.roots if _is_below(path, root)]
    return max(owners, key=lambda owner: owner[0])[1] if owners else None


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def respond(reply: Reply) -> Response:
    """Return a reply as the framework sends it."""
    return Response(reply.body, status_code=reply.status, media_type=reply.content_type, headers=dict(reply.headers))
