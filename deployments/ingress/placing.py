"""Leads calls that came by another host name, or through a proxy address, to the paths that they mean."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.dialects.dialect import Dialect, Placing
from deployments.errors import CallRefused
from deployments.ingress.calls import read_call, respond


class Placed:
    """An application whose calls have been placed."""

    def __init__(self, app: ASGIApp, *, dialects: Sequence[Dialect]) -> None:
        """Take the application, and the dialects, of which some are reached in other ways as well."""
        self._app = app
        self._placing = [dialect for dialect in dialects if isinstance(dialect, Placing)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, with the path that it means."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        for dialect in self._placing:
            call = read_call(scope)
            try:
                meant = dialect.place(call)
            except CallRefused as refusal:
                await respond(dialect.render_refusal(refusal, call))(scope, receive, send)
                return
            if meant is not None:
                scope = _moved(scope, meant)
                break
        await self._app(scope, receive, send)


def _moved(scope: Scope, meant: str) -> Scope:
    path, mark, query = meant.partition("?")
    query_string = query.encode("ascii", "replace") if mark else scope.get("query_string", b"")
    return {**scope, "path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": query_string}
