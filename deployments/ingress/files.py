"""What is not any dialect's: the pictures themselves, the addresses that take uploads, and health."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import FileResponse, JSONResponse

from deployments.bodies import Bodies
from deployments.delivery.files import LinkExpired, LinkUnknown
from deployments.delivery.kept import MAX_BYTES
from deployments.dialects.headers import retry_after
from deployments.errors import CallRefused
from deployments.ingress.metered import name_call
from deployments.ingress.parts import Parts


async def serve_file(request: Request) -> Response:
    """Serve a picture to whoever knows its name."""
    name_call(request.scope, "none", "file")
    parts: Parts = request.app.state.parts
    try:
        file = await parts.files.open_link(request.path_params["value"])
    except LinkExpired as error:
        return JSONResponse({"detail": error.message}, status_code=410)
    except LinkUnknown as error:
        return JSONResponse({"detail": error.message}, status_code=404)
    headers = {"Cache-Control": f"private, max-age={file.lifetime_s}, immutable"}
    return FileResponse(file.path, media_type=file.content_type, headers=headers)


async def receive_upload(request: Request) -> Response:
    """Take the picture for which an address was granted; the address is the permission."""
    name_call(request.scope, "none", "upload")
    parts: Parts = request.app.state.parts
    bodies: Bodies = request.app.state.bodies
    token, value = request.path_params["token"], request.path_params["value"]
    announced = request.headers.get("content-length", "")
    try:
        parts.kept.check(value, token)
        async with bodies.receive(request.stream(), announced=announced, max_bytes=MAX_BYTES) as body:
            await parts.kept.receive(value, token, body)
    except CallRefused as refusal:
        return refused(refusal)
    return JSONResponse({})


async def report_health(request: Request) -> Response:
    """Say whether calls can be answered."""
    name_call(request.scope, "none", "health")
    parts: Parts = request.app.state.parts
    try:
        await parts.store.ping()
    except CallRefused as refusal:
        return JSONResponse({"status": "unavailable", "detail": refusal.message}, status_code=refusal.http_status)
    return JSONResponse({"status": "ok"})


def refused(refusal: CallRefused) -> Response:
    """Answer a refusal where no dialect is spoken."""
    headers = dict(retry_after(refusal.retry_after_s))
    return JSONResponse({"detail": refusal.message}, status_code=refusal.http_status, headers=headers)
