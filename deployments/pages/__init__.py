"""The pages for people with a browser, and what they need: everything comes from here, nothing from another host.

Swagger UI itself lies in the package fastapi-offline, which is MIT; Swagger UI is Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from string import Template

#: Where each asset lies: package and path. Their names are what the pages ask for.
_ASSETS: Mapping[str, tuple[str, str]] = {
    "swagger-ui-bundle.js": ("fastapi_offline", "static/swagger-ui-bundle.js"),
    "swagger-ui.css": ("fastapi_offline", "static/swagger-ui.css"),
    "start.js": (__name__, "start.js"),
    "pages.css": (__name__, "pages.css"),
    "icon.svg": (__name__, "icon.svg"),
}
_MEDIA_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


def read_assets() -> Iterator[tuple[str, bytes, str]]:
    """Yield the name, the content and the media type of every asset."""
    for name, (package, path) in _ASSETS.items():
        yield name, files(package).joinpath(path).read_bytes(), _MEDIA_TYPES[name.rpartition(".")[2]]


def list_of_dialects(titles: Mapping[str, str]) -> str:
    """Write the page that leads to every dialect.

    Args:
        titles: by the dialect's name, which is a word.
    """
    entries = "\n".join(
        f'<li><a href="/docs/{name}">{escape(title)}</a> <a href="/openapi/{name}.json">OpenAPI</a></li>'
        for name, title in titles.items()
    )
    return _filled("index.html", entries=entries)


def page_of_dialect(name: str, title: str) -> str:
    """Write the page of one dialect, into which Swagger UI draws its document."""
    return _filled("dialect.html", name=name, title=escape(title))


def page_of_errors() -> str:
    """Write the page to which fal's errors lead, each to its own type."""
    return _filled("errors.html")


def _filled(file_name: str, /, **texts: str) -> str:
    return Template(files(__name__).joinpath(file_name).read_text(encoding="utf-8")).substitute(texts)
