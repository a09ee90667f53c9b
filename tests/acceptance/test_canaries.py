"""Secrets that are told apart by their words, put wherever secrets come in, and looked for wherever they may come out.

The service runs at its most talkative: its own log and Ray Serve's at debug level, with the log of all calls.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from running_service import CALL_S, ROOT, RUN_S, free_port, one_replica, uxo_run, wait_for

#: By the place where each is put.
CANARIES: Mapping[str, str] = {
    "API key": "canary-01-key-of-alice",
    "wrong key": "canary-02-key-of-nobody",
    "cookie": "canary-03-cookie",
    "server secret": "canary-04-server-secret-of-32-or-more",
    "S3 key id": "AKIACANARY05CANARY05",
    "S3 secret key": "canary-06-s3-secret-key",
    "database password": "canary-07-password",
    "query of a call": "canary-08-query",
    "prompt": "canary-09 in the snow",
    "query of a reference": "canary-10-reference",
    "query of an upload address": "canary-11-upload",
    "query of a webhook": "canary-12-webhook",
    "user name in a webhook": "canary-13-userinfo",
    "idempotency key": "canary-14-idempotency",
    "key in a body": "canary-15-key-in-a-body",
}
#: What a caller asks for stands in the database until it is erased; so it is designed.
A_CALLERS_OWN = {
    "prompt",
    "data URI",
    "query of a reference",
    "query of an upload address",
    "query of a webhook",
    "idempotency key",
}
#: What a webhook tells its own tenant again, which is how its dialect has it.
TOLD_AGAIN = {"prompt", "data URI", "query of a reference"}
#: Seconds until what was asked for must have come.
PATIENCE_S = 90

pytestmark = pytest.mark.timeout(RUN_S)


class Neighbour(ThreadingHTTPServer):
    """A server that hands out one picture, takes whatever is sent to it, and remembers that."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.arrived: dict[str, str] = {}

    def url(self, path: str) -> str:
        """Return the address of a path, with its query."""
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Answer(BaseHTTPRequestHandler):
    server: Neighbour

    def do_GET(self) -> None:
        """Hand out a picture."""
        self._say(picture("red"))

    def do_POST(self) -> None:
        """Take a webhook."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8", "replace")
        self.server.arrived[self.command] = f"{self.headers}{body}"
        self._say(b"")

    def do_PUT(self) -> None:
        """Take a picture."""
        self.do_POST()

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def picture(colour: str) -> bytes:
    """Return a PNG of one colour."""
    file = BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What is left of a service that ran."""

    #: What it printed, and every log of every process of its.
    logs: str
    #: What its database's files hold.
    database: str
    #: What it answered to who asked for its metrics.
    metrics: str
    #: What it sent to others, by method.
    sent: Mapping[str, str]
    #: Every canary, those that were drawn by the service too.
    canaries: Mapping[str, str]


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Neighbour]:
    """Return a running server beside the service."""
    server = Neighbour()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[Path]:
    """Return a folder for what Ray writes; its path is short, for there are sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="uxo"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory, neighbour: Neighbour, ray_folder: Path) -> Traces:
    """Run the service, put every canary where it belongs, and return what is left when all is done."""
    folder, port, metrics_port = tmp_path_factory.mktemp("canaries"), free_port(), free_port()
    config = one_replica(folder, logging_config={"log_level": "DEBUG", "enable_access_log": True})
    settings = {
        "UXO_PORT": str(port),
        "UXO_METRICS_PORT": str(metrics_port),
        "UXO_BOOTSTRAP_KEYS": f"alice:{CANARIES['API key']}",
        "UXO_SECRET": CANARIES["server secret"],
        "UXO_ALLOW_PRIVATE_NETWORKS": "true",
        "UXO_LOG_LEVEL": "debug",
        "AWS_ACCESS_KEY_ID": CANARIES["S3 key id"],
        "AWS_SECRET_ACCESS_KEY": CANARIES["S3 secret key"],
        "RAY_TMPDIR": str(ray_folder),
    }
    with uxo_run(folder, config=config, **settings) as (_, lines):
        said = wait_for(lines, "serving at")
        drawn = plant(f"http://127.0.0.1:{port}", neighbour)
        metrics = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics", timeout=CALL_S, trust_env=False).text
    while not lines.empty():
        said.append(lines.get())
    logs = [path.read_text("utf-8", "replace") for path in ray_folder.rglob("logs/**/*") if path.is_file()]
    database = [path.read_text("latin-1") for path in folder.glob("uxo.db*")]
    return Traces(
        logs="".join([*said, *logs]),
        database="".join(database),
        metrics=metrics,
        sent=dict(neighbour.arrived),
        canaries={**CANARIES, **drawn},
    )


def plant(base_url: str, neighbour: Neighbour) -> dict[str, str]:
    """Make calls that hold canaries, good and bad ones; return those that only came to be here."""
    headers = {"Authorization": f"Bearer {CANARIES['API key']}", "Cookie": f"session={CANARIES['cookie']}"}
    data = base64.b64encode(picture("green")).decode()
    webhook = neighbour.url(f"/hook?sig={CANARIES['query of a webhook']}")
    reference = neighbour.url(f"/mug.png?X-Amz-Signature={CANARIES['query of a reference']}")
    wish = {"images": [reference, f"data:image/png;base64,{data}"], "prompt": CANARIES["prompt"], "size": "256*256"}
    with httpx.Client(base_url=base_url, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
        once = {"Idempotency-Key": CANARIES["idempotency key"]}
        client.post("/api/v3/wavespeed-ai/uno", params={"webhook": webhook}, json=wish, headers=once).raise_for_status()
        client.post("/v1", json=[upload(neighbour, data)]).raise_for_status()
        for bad in bad_calls(client):
            assert bad.status_code in {400, 401, 404, 422}, bad.text
        secret = client.get("/api/v3/webhook/secret").json()["data"]["secret"]
    deadline = time.monotonic() + PATIENCE_S
    while not {"PUT", "POST"} <= neighbour.arrived.keys():
        assert time.monotonic() < deadline, "what was asked for did not come"
        time.sleep(0.1)
    return {"data URI": data[40:120], "webhook secret": secret.removeprefix("whsec_")}


def upload(neighbour: Neighbour, data: str) -> dict[str, Any]:
    """Return a task whose picture is sent to an address that holds a canary."""
    return {
        "taskType": "imageInference",
        "taskUUID": "a770f077-f413-47de-9dac-be0b26a35da6",
        "model": "bytedance:uno@1",
        "positivePrompt": CANARIES["prompt"],
        "inputs": {"referenceImages": [f"data:image/png;base64,{data}"]},
        "width": 256,
        "height": 256,
        "steps": 1,
        "deliveryMethod": "async",
        "uploadEndpoint": neighbour.url(f"/out?X-Amz-Signature={CANARIES['query of an upload address']}"),
    }


def bad_calls(client: httpx.Client) -> Iterator[httpx.Response]:
    """Make calls that are refused, each with a canary in it."""
    wrong = CANARIES["wrong key"]
    yield client.get("/api/v3/balance", headers={"Authorization": f"Bearer {wrong}"})
    yield client.get("/api/v3/balance", headers={"Authorization": f"Digest {wrong}"})
    yield client.get("/nowhere", params={"token": CANARIES["query of a call"]})
    yield client.get("/api/v3/predictions/7", params={"api_key": CANARIES["query of a call"]})
    userinfo = f"http://u:{CANARIES['user name in a webhook']}@hooks.example/"
    wish = {"images": ["data:,x"], "prompt": CANARIES["prompt"]}
    yield client.post("/api/v3/wavespeed-ai/uno", params={"webhook": userinfo}, json=wish)
    login = [{"taskType": "authentication", "apiKey": CANARIES["key in a body"]}]
    yield client.post("/v1", json=login, headers={"Authorization": ""})
    yield client.post("/api/v3/wavespeed-ai/uno", content=f'{{"prompt": "{CANARIES["prompt"]}", ')


def found(text: str, canaries: Mapping[str, str], *, besides: Collection[str] = ()) -> list[str]:
    """Name the canaries that stand in a text, besides those that may."""
    return [place for place, canary in canaries.items() if canary in text and place not in besides]


def test_no_canary_is_in_a_log(traces: Traces) -> None:
    """Neither in what it printed, nor in what Ray wrote for any process of it; and there is a log to look at."""
    assert "task_succeeded" in traces.logs
    assert "webhook_delivered" in traces.logs
    assert len(traces.canaries) >= 12
    assert found(traces.logs, traces.canaries) == []


def test_no_canary_is_in_the_metrics(traces: Traces) -> None:
    """Neither a secret nor a caller's word is a label; and there are metrics of the processes that held them."""
    assert "uxo_deliveries_total" in traces.metrics
    assert 'uxo_http_requests_total{dialect="runware"' in traces.metrics
    assert found(traces.metrics, traces.canaries) == []


def test_no_secret_is_in_the_database(traces: Traces) -> None:
    """Of keys there are digests, of sessions and passwords nothing; what a caller asks for is there until erased."""
    assert found(traces.database, traces.canaries, besides=A_CALLERS_OWN) == []
    assert CANARIES["prompt"] in traces.database


def test_no_secret_is_sent_to_others(traces: Traces) -> None:
    """A webhook tells its tenant what was asked for, without any secret; an upload is a picture and nothing more."""
    assert found(traces.sent["POST"], traces.canaries, besides=TOLD_AGAIN) == []
    assert found(traces.sent["PUT"], traces.canaries) == []


@pytest.mark.parametrize("command", [["queue"], ["tenants", "list"], ["migrate"], ["run"]])
def test_no_password_is_told_when_the_database_is_away(tmp_path: Path, command: list[str]) -> None:
    """A command that cannot reach its database says so, and not by what password."""
    url = f"postgresql+asyncpg://uxo:{CANARIES['database password']}@127.0.0.1:{free_port()}/uxo"
    environment = {**os.environ, "UXO_FOLDER": str(tmp_path), "UXO_DATABASE_URL": url}  # noqa: TID251 -- handed on, not read

    answer = subprocess.run(
        [str(Path(sys.executable).with_name("uxo")), *command],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env=environment,
        text=True,
        timeout=PATIENCE_S,
    )

    assert answer.returncode == 1
    assert found(answer.stdout + answer.stderr, CANARIES) == []
