"""The documents and pages over HTTP, without a key and without another host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from deployments.delivery.files import FilesSink
from deployments.dialects import DIALECTS
from deployments.dialects.openapi import read_document
from deployments.ingress.application import make_ingress
from deployments.ingress.browsing import PAGE_HEADERS
from deployments.ingress.parts import Parts
from deployments.operations.doors import Doors
from deployments.operations.operations import Operations
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.keys import KeyRing

HERE = "http://uxo.test:8000"


@pytest.fixture
def parts(make_doors: Callable[[], Doors], directory: TenantDirectory, files: FilesSink) -> Parts:
    """Return what the ingress works through; nobody has a key."""
    doors = make_doors()
    keys = KeyRing({}, directory=directory, secret="s" * 32)
    return Parts(operations=Operations(doors, wait_s=1), keys=keys, files=files, kept=doors.kept, store=doors.store)


@pytest.fixture
async def app(parts: Parts) -> AsyncIterator[FastAPI]:
    """Return a running application that speaks every dialect."""

    @asynccontextmanager
    async def open_parts() -> AsyncIterator[Parts]:
        yield parts

    app = make_ingress(list(DIALECTS.values()), open_parts)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client without a key."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
        yield client


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_document_says_where_it_was_asked_for(browser: httpx.AsyncClient, dialect: str) -> None:
    """A document is the one that was written, with the address by which its reader came."""
    reply = await browser.get(f"/openapi/{dialect}.json")

    assert reply.json() == read_document(dialect) | {"servers": [{"url": HERE}]}


async def test_a_document_says_where_the_service_is_said_to_be(
    app: FastAPI, parts: Parts, browser: httpx.AsyncClient
) -> None:
    """A public address of the service counts before that of the call."""
    app.state.parts = replace(parts, base_url="https://pictures.example/uxo")

    reply = await browser.get("/openapi/fal.json")

    assert reply.json()["servers"] == [{"url": "https://pictures.example/uxo"}]


async def test_a_host_that_is_none_is_not_written_into_a_document(browser: httpx.AsyncClient) -> None:
    """A document is refused where the Host header could not be part of a link."""
    reply = await browser.get("/openapi/fal.json", headers={"Host": "a b"})

    assert reply.status_code == 400


@pytest.mark.parametrize("path", ["/docs", "/errors", *(f"/docs/{dialect}" for dialect in DIALECTS)])
async def test_a_page_runs_nothing_but_our_scripts(browser: httpx.AsyncClient, path: str) -> None:
    """Every page is there for everybody, and forbids foreign scripts and frames."""
    reply = await browser.get(path)

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert {name: reply.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS


@pytest.mark.parametrize(
    ("name", "media_type", "words"),
    [
        ("swagger-ui-bundle.js", "text/javascript", "SwaggerUIBundle"),
        ("swagger-ui.css", "text/css", ".swagger-ui"),
        ("start.js", "text/javascript", "SwaggerUIBundle"),
        ("pages.css", "text/css", "body"),
        ("icon.svg", "image/svg+xml", "<svg"),
    ],
)
async def test_an_asset_is_served_from_here(browser: httpx.AsyncClient, name: str, media_type: str, words: str) -> None:
    """What the pages ask for is served as what it is."""
    reply = await browser.get(f"/docs/assets/{name}")

    assert reply.headers["content-type"].startswith(media_type)
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert words in reply.text


@pytest.mark.parametrize("path", ["/docs/nothing", "/docs/assets/nothing", "/openapi/nothing.json"])
async def test_what_is_not_described_is_not_found(browser: httpx.AsyncClient, path: str) -> None:
    """There are pages for the dialects alone."""
    reply = await browser.get(path)

    assert reply.status_code == 404
