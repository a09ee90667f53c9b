"""A real small HTTP server that speaks as much of the Hugging Face hub as its client needs to download a repository."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

#: Files from this many bytes on are large ones, of which the hub lists the SHA-256.
LARGE_BYTES = 1000


@dataclass(slots=True, kw_only=True)
class Shelf:
    """What the hub holds, and how it misbehaves."""

    #: The folder of each repository.
    repositories: dict[str, Path] = field(default_factory=dict)
    #: Repositories that ask for terms to be accepted, and the token of who has.
    gated: dict[str, str] = field(default_factory=dict)
    #: Names of files of which the first answer breaks off in the middle.
    breaking: set[str] = field(default_factory=set)
    #: Names of files that arrive with another last byte than was listed.
    flipped: set[str] = field(default_factory=set)
    #: Repositories whose main branch has moved on to a second commit.
    moved: set[str] = field(default_factory=set)
    #: Names of files of which nothing but the bytes can be had.
    headless: set[str] = field(default_factory=set)
    #: Bytes more than there are that the hub says each file has.
    boast_bytes: int = 0
    #: Files that were sent: the name, and from which byte on.
    sent: list[tuple[str, int]] = field(default_factory=list)
    #: Where the hub listens.
    url: str = ""

    def commit(self, repository: str) -> str:
        """Return the newest commit of a repository."""
        version = repository + "2" * (repository in self.moved)
        return hashlib.sha1(version.encode(), usedforsecurity=False).hexdigest()

    def listing(self, repository: str) -> list[dict[str, Any]]:
        """List a repository as the hub does."""
        folder = self.repositories[repository]
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return [self._listed(path, path.relative_to(folder).as_posix()) for path in paths]

    def _listed(self, path: Path, name: str) -> dict[str, Any]:
        content = path.read_bytes()
        size = len(content) + self.boast_bytes
        git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        listed: dict[str, Any] = {"type": "file", "path": name, "size": size, "oid": git}
        if len(content) >= LARGE_BYTES:
            listed["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 130}
        return listed


@contextmanager
def hub_server() -> Iterator[Shelf]:
    """Serve a shelf for the length of a block."""
    shelf = Shelf()
    handler = type("Hub", (_Hub,), {"shelf": shelf})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        shelf.url = f"http://127.0.0.1:{server.server_address[1]}"
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield shelf
        finally:
            server.shutdown()
            serving.join()


class _Hub(BaseHTTPRequestHandler):
    """Answers one call."""

    shelf: Shelf

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer()

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the server's name for it
        """Say nothing."""

    def _answer(self) -> None:
        match unquote(urlsplit(self.path).path).strip("/").split("/"):
            case ["api", "models", owner, name]:
                self._describe(f"{owner}/{name}", "main")
            case ["api", "models", owner, name, "revision", revision]:
                self._describe(f"{owner}/{name}", revision)
            case ["api", "models", owner, name, "tree", revision]:
                self._describe(f"{owner}/{name}", revision, is_tree=True)
            case [owner, name, "resolve", _, *path] if self._may(f"{owner}/{name}"):
                self._send_file(f"{owner}/{name}", "/".join(path))

    def _may(self, repository: str) -> bool:
        token = self.shelf.gated.get(repository)
        given = self.headers.get("Authorization", "")
        if token is not None and given != f"Bearer {token}":
            status = HTTPStatus.FORBIDDEN if given else HTTPStatus.UNAUTHORIZED
            self._send(status, b"", {"X-Error-Code": "GatedRepo"})
            return False
        if repository not in self.shelf.repositories:
            self._send(HTTPStatus.NOT_FOUND, b"", {"X-Error-Code": "RepoNotFound"})
            return False
        return True

    def _describe(self, repository: str, revision: str, *, is_tree: bool = False) -> None:
        if not self._may(repository):
            return
        commit = self.shelf.commit(repository)
        if revision not in ("main", commit):
            self._send(HTTPStatus.NOT_FOUND, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        told = self.shelf.listing(repository) if is_tree else {"id": repository, "sha": commit, "siblings": []}
        self._send(HTTPStatus.OK, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _send_file(self, repository: str, name: str) -> None:
        if self.command == "HEAD" and name in self.shelf.headless:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, b"", {})
            return
        content = (self.shelf.repositories[repository] / name).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": self.shelf.commit(repository),
            "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}",
        }
        if name in self.shelf.flipped:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.command == "GET":
            self.shelf.sent.append((name, start))
        status = HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK
        self._send(status, content[start:], headers, breaks=name in self.shelf.breaking)
        if self.command == "GET":
            self.shelf.breaking.discard(name)

    def _send(self, status: HTTPStatus, body: bytes, headers: dict[str, str], *, breaks: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if breaks else body)
