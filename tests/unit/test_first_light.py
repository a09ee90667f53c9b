"""The first pictures, asked for through HTTP as any caller would, and the command that asks for one more."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deployments.dialects.dialect import Call
from deployments.dialects.wavespeed import WaveSpeed
from deployments.first_light import NoPicture, Wish, curl_command, data_uri, first_wishes, take
from deployments.operations.operation import Submit
from deployments.outbound.references import read_data_uri
from deployments.pictures import __file__ as pictures_file
from deployments.pictures import read_picture
from models.catalog import CATALOG

MUG = Path(pictures_file).parent / "mug.png"
WISH = Wish(model="wavespeed-ai/uno", body={"prompt": "a mug"})
KEY = "demo-0123456789abcdef"


class Service:
    """A service of few words: it answers calls, one after another, with what it was given."""

    def __init__(self, answers: Sequence[tuple[int, bytes]]) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, str, str | None, bytes]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.endpoint())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def endpoint(self) -> type[BaseHTTPRequestHandler]:
        """Return the class that answers one call."""
        service = self

        class Endpoint(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                service.calls.append((self.command, self.path, self.headers["Authorization"], body))
                status, content = service.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer  # noqa: N815 -- the library's names

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        return Endpoint


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """Return a starter of services that give the answers they are made with."""
    started: list[tuple[Service, threading.Thread]] = []

    def start(*answers: tuple[int, bytes]) -> Service:
        service = Service(answers)
        thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((service, thread))
        return service

    yield start
    for service, thread in started:
        service.server.shutdown()
        service.server.server_close()
        thread.join(20)


def ignore(_news: str) -> None:
    """Take news that a test is not about."""


def told(status: str, **fields: Any) -> tuple[int, bytes]:
    """Write the service's answer about a task."""
    task = {"id": "t1", "status": status, "urls": {"get": "/result"}, "outputs": [], "error": "", **fields}
    return 200, json.dumps({"code": 200, "message": "success", "data": task}).encode()


def test_a_picture_is_asked_for_waited_for_and_saved(serve: Callable[..., Service], tmp_path: Path) -> None:
    """The picture that the finished task names is saved under the model's name, and the wait is reported."""
    service = serve(told("created"), told("processing"), told("completed", outputs=["/files/1.jpg"]), (200, b"jpeg"))
    reports: list[str] = []

    path = take(WISH, base_url=service.url, key=KEY, folder=tmp_path / "new" / "folder", report=reports.append)

    assert path == tmp_path / "new" / "folder" / "uno.jpg"
    assert path.read_bytes() == b"jpeg"
    assert reports == ["uno: created", "uno: processing"]


def test_it_calls_as_any_caller_would(serve: Callable[..., Service], tmp_path: Path) -> None:
    """The wish is posted once with the key, and then only read; the picture without it, for it may lie elsewhere."""
    service = serve(told("created"), told("completed", outputs=["/files/1.jpg"]), (200, b"jpeg"))

    take(WISH, base_url=service.url, key=KEY, folder=tmp_path, report=ignore)

    [(method, path, shown, body), *later] = service.calls
    assert (method, path, shown) == ("POST", "/api/v3/wavespeed-ai/uno", f"Bearer {KEY}")
    assert json.loads(body) == WISH.body
    assert [call[:3] for call in later] == [("GET", "/result", f"Bearer {KEY}"), ("GET", "/files/1.jpg", None)]


def test_a_failed_task_is_told_in_the_services_words(serve: Callable[..., Service], tmp_path: Path) -> None:
    """A task that fails leaves no file, and its reason is passed on."""
    service = serve(told("created"), told("failed", error="reference 1 is not a PNG, JPEG or WebP picture"))

    with pytest.raises(NoPicture, match=r"^task t1 is failed: reference 1 is not a PNG, JPEG or WebP picture$"):
        take(WISH, base_url=service.url, key=KEY, folder=tmp_path, report=ignore)

    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_told_in_the_services_words(serve: Callable[..., Service], tmp_path: Path) -> None:
    """A call that is refused is told with its status and text."""
    service = serve((401, b'{"code": 401, "message": "The API key is missing or not valid."}'))

    with pytest.raises(NoPicture, match=r"^the service answered 401: .*The API key is missing or not valid"):
        take(WISH, base_url=service.url, key=KEY, folder=tmp_path, report=ignore)


def test_a_picture_that_is_not_there_is_told(serve: Callable[..., Service], tmp_path: Path) -> None:
    """A finished task whose picture cannot be fetched leaves no file, and the service's words are passed on."""
    service = serve(told("created"), told("completed", outputs=["/files/1.jpg"]), (404, b"gone"))

    with pytest.raises(NoPicture, match=r"^the service answered 404: gone$"):
        take(WISH, base_url=service.url, key=KEY, folder=tmp_path, report=ignore)

    assert list(tmp_path.iterdir()) == []


def test_a_service_that_is_not_there_is_told(tmp_path: Path) -> None:
    """When nobody answers, the address is named instead of a stack of calls."""
    with socket.socket() as nobody:  # has the port, and does not listen
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"

        with pytest.raises(NoPicture, match=f"^no picture of uno: asking {url} failed .*refused"):
            take(WISH, base_url=url, key=KEY, folder=tmp_path, report=ignore)


def test_there_is_a_good_wish_for_every_model() -> None:
    """The first wishes are calls that the dialect takes, for every model of the catalog once, within its limits."""
    dialect = WaveSpeed()
    submits = {route.path: route for route in dialect.routes if route.method == "POST"}

    parsed = []
    for wish in first_wishes():
        path = f"/api/v3/{wish.model}"
        call = Call(method="POST", path=path, body=json.dumps(wish.body).encode())
        parsed.append(dialect.parse(submits[path], call))

    submissions = [operation for operation in parsed if isinstance(operation, Submit)]
    assert [submission.request.model for submission in submissions] == list(CATALOG)
    for submission in submissions:
        CATALOG[submission.request.model].check(submission.request)


def test_a_bundled_picture_travels_as_a_data_uri() -> None:
    """What the wishes carry is what the replica reads from them."""
    assert read_data_uri(data_uri("waves")) == read_picture("waves")


@pytest.fixture
def run_command(tmp_path: Path) -> Callable[..., list[str]]:
    """Return a runner of shell commands that tells what they called curl with."""
    curl = tmp_path / "bin" / "curl"
    curl.parent.mkdir()
    curl.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done\n')
    curl.chmod(0o700)

    def run(command: str, *, shell: str = "sh", **environment: str) -> list[str]:
        path = shutil.which(shell)
        if path is None:
            pytest.skip(f"{shell} is not installed")
        ended = subprocess.run(
            [path],
            input=f"{command}\n",
            env={"PATH": f"{curl.parent}:/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stderr == ""
        return ended.stdout.split("\0")

    return run


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
@pytest.mark.parametrize("folder", ["plain", "with blanks", "it's $HOME `here`"])
def test_the_command_to_paste_is_one_good_call(
    tmp_path: Path, run_command: Callable[..., list[str]], shell: str, folder: str
) -> None:
    """A shell that reads it line by line calls curl with the address, the key, and a JSON body with the picture."""
    picture = tmp_path / folder / "mug.png"
    picture.parent.mkdir()
    shutil.copy(MUG, picture)

    words = run_command(curl_command(base_url="http://[::1]:8000", key=KEY, picture=picture), shell=shell)

    body = json.loads(words[words.index("-d") + 1])
    assert words[words.index("-s") + 1] == "http://[::1]:8000/api/v3/wavespeed-ai/uno"
    assert f"Authorization: Bearer {KEY}" in words
    assert body["enable_sync_mode"] is True
    assert Image.open(io.BytesIO(read_data_uri(body["images"][0]))).size == (384, 384)


def test_without_a_key_the_command_takes_the_shells(run_command: Callable[..., list[str]]) -> None:
    """Where no key may be shown, the command names a variable, and the shell fills it in."""
    command = curl_command(base_url="http://h", key=None, picture=MUG)

    words = run_command(command, UXO_KEY="it's $secret")

    assert "Authorization: Bearer it's $secret" in words


def test_no_line_of_the_command_is_long() -> None:
    """Each of its lines fits a terminal."""
    command = curl_command(base_url="http://127.0.0.1:8000", key=KEY, picture=Path("/srv/mug.png"))

    assert max(map(len, command.splitlines())) <= 80


def test_the_command_to_paste_is_a_good_wish(run_command: Callable[..., list[str]]) -> None:
    """The dialect takes the body that the command sends."""
    words = run_command(curl_command(base_url="http://h", key=KEY, picture=MUG))
    dialect = WaveSpeed()
    route = next(route for route in dialect.routes if route.name == "submit_uno")
    body = words[words.index("-d") + 1].encode()

    operation = dialect.parse(route, Call(method="POST", path=route.path, body=body))

    assert isinstance(operation, Submit)
    assert operation.wait
