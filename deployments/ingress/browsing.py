"""Serves what describes the dialects: their OpenAPI documents, and pages on which people can read and try them.

    /docs                  leads to every dialect
    /docs/<dialect>        Swagger UI, without a foreign host
    /openapi/<dialect>.json
    /errors                to which fal's errors lead

Nobody needs a key for these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from deployments.dialects.dialect import Dialect
from deployments.dialects.openapi import read_document
from deployments.errors import CallRefused
from deployments.ingress.calls import address_of
from deployments.ingress.files import refused
from deployments.ingress.parts import Parts
from deployments.pages import list_of_dialects, page_of_dialect, page_of_errors, read_assets

#: Scripts come from here alone, and never from within a page. Swagger UI sets styles from within its elements, and
#: its style sheet holds its icons.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
}
#: Assets change with the version of this service alone; browsers ask again once a day.
ASSET_HEADERS: Mapping[str, str] = {"Cache-Control": "public, max-age=86400"}
READS = ["GET", "HEAD"]

Endpoint = Callable[[Request], Awaitable[Response]]


def add_pages(app: FastAPI, dialects: Sequence[Dialect]) -> None:
    """Serve the documents and pages of some dialects."""
    documents = {dialect.name: read_document(dialect.name) for dialect in dialects}
    titles = {name: document["info"]["title"] for name, document in documents.items()}
    app.add_route("/docs", _page(list_of_dialects(titles)), methods=READS)
    app.add_route("/errors", _page(page_of_errors()), methods=READS)
    for name, document in documents.items():
        app.add_route(f"/docs/{name}", _page(page_of_dialect(name, titles[name])), methods=READS)
        app.add_route(f"/openapi/{name}.json", _document(document), methods=READS)
    for name, content, media_type in read_assets():
        app.add_route(f"/docs/assets/{name}", _asset(content, media_type), methods=READS)


def _page(text: str) -> Endpoint:
    async def answer(_request: Request) -> Response:
        return HTMLResponse(text, headers=dict(PAGE_HEADERS))

    return answer


def _document(document: Mapping[str, Any]) -> Endpoint:
    async def answer(request: Request) -> Response:
        parts: Parts = request.app.state.parts
        try:
            url = parts.base_url or address_of(request)
        except CallRefused as refusal:
            return refused(refusal)
        return JSONResponse({**document, "servers": [{"url": url}]})

    return answer


def _asset(content: bytes, media_type: str) -> Endpoint:
    async def answer(_request: Request) -> Response:
        return Response(content, media_type=media_type, headers=dict(ASSET_HEADERS))

    return answer
