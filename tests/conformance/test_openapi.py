"""The OpenAPI documents beside the dialects: the same addresses, valid, and with examples that a dialect takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from deployments.dialects import DIALECTS
from deployments.dialects.dialect import Call, Dialect, Route
from deployments.dialects.fal.mistakes import CANCELLED, LINE_CLOSED, MISTAKES
from deployments.dialects.openapi import read_document
from deployments.errors import CallRefused
from deployments.operations.operation import Batch, Operation, Refuse
from deployments.pages import list_of_dialects, page_of_dialect, page_of_errors, read_assets

PARAMETER = re.compile(r"\{(\w+)\}")
#: Where a page may lead: to this server alone.
OWN_ADDRESS = re.compile(r"/(?!/)")


class Page(HTMLParser):
    """The addresses and ids of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.scripts = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what an element says."""
        del tag
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src", "data-document"}]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        """Keep what is inside a script."""
        if self.cdata_elem == "script":
            self.scripts += data.strip()


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Return each dialect in turn."""
    return DIALECTS[request.param]


@pytest.fixture
def document(dialect: Dialect) -> dict[str, Any]:
    """Return its document."""
    return read_document(dialect.name)


def operations_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield method, path and text of every operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def resolved(document: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a part of a document stands for."""
    if "$ref" not in part:
        return part
    found: Any = document
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return resolved(document, found)


def examples_of(media: Mapping[str, Any]) -> list[Any]:
    """Return the example bodies of a media type."""
    named = [example["value"] for example in media.get("examples", {}).values()]
    return [*named, media["example"]] if "example" in media else named


def example_calls(document: Mapping[str, Any], dialect: Dialect) -> Iterator[tuple[Route, Call]]:
    """Yield a call for every JSON body that a document shows, and one for every operation without a body."""
    routes = {(route.method, route.path): route for route in dialect.routes}
    for method, path, operation in operations_of(document):
        media = operation.get("requestBody", {}).get("content", {})
        bodies = [json.dumps(each).encode() for each in examples_of(media.get("application/json", {}))]
        route = routes[method, path]
        if route.name == "upload_in_parts":  # takes nothing, whatever it is
            continue
        for body in bodies or ([b""] if not media else []):
            yield route, example_call(document, operation, route, body)


def example_call(document: Mapping[str, Any], operation: Mapping[str, Any], route: Route, body: bytes) -> Call:
    """Return a call as a document shows it."""
    parameters = [resolved(document, each) for each in operation.get("parameters", [])]
    values = {
        each["name"]: each.get("example", each["schema"].get("enum", ["x"])[0])
        for each in parameters
        if each["in"] == "path"
    }
    return Call(
        method=route.method,
        path=PARAMETER.sub(lambda found: values[found[1]], route.path),
        route=route.name,
        base_url="http://host:8000",
        path_params=values,
        body=body,
    )


def test_names_every_address_and_no_other(dialect: Dialect, document: dict[str, Any]) -> None:
    """A dialect's routes are the operations of its document."""
    told = {(method, path) for method, path, _ in operations_of(document)}

    assert told == {(route.method, route.path) for route in dialect.routes}


def test_is_valid(document: dict[str, Any]) -> None:
    """A document keeps to OpenAPI 3.1."""
    OpenAPIV31SpecValidator(document).validate()

    assert document["openapi"].startswith("3.1.")


def test_says_which_addresses_are_for_everybody(dialect: Dialect, document: dict[str, Any]) -> None:
    """An operation without security is a public route, and the other way round."""
    public = {(method, path) for method, path, operation in operations_of(document) if operation.get("security") == []}

    assert public == {(route.method, route.path) for route in dialect.routes if route.is_public}


def test_every_wrong_key_and_overload_is_told(dialect: Dialect, document: dict[str, Any]) -> None:
    """Each operation tells the answers that any call may get."""
    public = {(route.method, route.path) for route in dialect.routes if route.is_public}
    for method, path, operation in operations_of(document):
        owed = {"400", "413", "429", "500", "503"} | (set() if (method, path) in public else {"401"})

        assert owed <= set(operation["responses"]), (method, path)


def test_examples_are_understood(dialect: Dialect, document: dict[str, Any]) -> None:
    """Whatever a document shows as an example can be sent as it is."""
    wanted: list[Operation | CallRefused] = []

    for route, call in example_calls(document, dialect):
        operation = dialect.parse(route, call)
        wanted += [part.operation for part in operation.parts] if isinstance(operation, Batch) else [operation]

    assert wanted
    assert not [each for each in wanted if isinstance(each, CallRefused | Refuse)]


@pytest.mark.parametrize(
    "text",
    [list_of_dialects({"fal": "a & b"}), page_of_dialect("fal", "fal"), page_of_errors()],
    ids=["all", "one", "errors"],
)
def test_pages_stay_at_home(text: str) -> None:
    """No page leads to another host or runs a script within itself, and every asset it asks for is there."""
    page = Page(text)
    assets = {name for name, _, _ in read_assets()}

    asked = {each.removeprefix("/docs/assets/") for each in page.addresses if each.startswith("/docs/assets/")}

    assert page.addresses
    assert all(OWN_ADDRESS.match(each) for each in page.addresses)
    assert page.scripts == ""
    assert asked <= assets


def test_every_error_type_of_fal_is_explained() -> None:
    """The links in fal's errors lead to an entry each."""
    words = {verdict.word for verdict in (*MISTAKES.values(), CANCELLED, LINE_CLOSED)} - {None}

    assert words <= set(Page(page_of_errors()).ids)
