"""One trace for a task: the HTTP side, a replica and the sender of webhooks, and a collector that takes the spans."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from PIL import Image
from receiver import Receiver, receiving
from running_replica import decode_here, running
from solid_pipeline import SolidPipeline

from deployments.database.database import Database
from deployments.database.signals import StoreSignal
from deployments.delivery.files import FilesSink
from deployments.delivery.presigned_put import put_picture
from deployments.delivery.sink import Sink
from deployments.dialects.wavespeed import WaveSpeed
from deployments.ingress.application import make_ingress
from deployments.ingress.parts import Parts
from deployments.operations.doors import Doors
from deployments.operations.operations import Operations
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.references import References
from deployments.replica.doors import Doors as ReplicaDoors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.tasks.outbox import Outbox
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim
from deployments.telemetry.tracing import close_tracing, flush_spans, open_tracing
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.keys import KeyRing
from deployments.tenants.webhook_keys import WebhookSigner
from deployments.webhooks import Scribe, WebhookSender
from models.engine import Engine

KEY, HERE = "alice-key-0123456789", "http://uxo.test:8000"
UNO = "/api/v3/wavespeed-ai/uno"
TRACE = "0af7651916cd43dd8448eb211c80319c"
#: Everything that is done for a task with a reference and a webhook.
NAMES = {
    "accept",
    "queue",
    "fetch",
    "decode_references",
    "prepare",
    "denoise",
    "decode",
    "encode",
    "deliver",
    "webhook",
}
PATIENCE_S = 60
TRACED = Path(__file__).parents[1] / "traced_process.py"
#: Seconds until a process must have ended; the library would wait for 30 at its exit, and 1000 for an answer.
UNANSWERED_S = 30


class Collector(ThreadingHTTPServer):
    """Takes spans as OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.spans: list[Span] = []
        self.said = b""


class _Taker(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Take a batch."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        batch = ExportTraceServiceRequest.FromString(body)
        self.server.said += body
        self.server.spans += [span for one in batch.resource_spans for scope in one.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a server that takes webhooks."""
    async with receiving() as server:
        yield server


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Return a collector to which this process sends its spans."""
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    open_tracing()
    yield server
    close_tracing()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def doors(
    database: Database, store: TaskStore, signal: StoreSignal, sinks: Mapping[str, Sink], files: FilesSink
) -> Doors:
    """Return what operations work through; it may reach this machine."""
    client = GuardedClient(Rules(allows_private=True))
    return Doors.over(
        database,
        store=store,
        signal=signal,
        files=files,
        sinks=sinks,
        references=References(files, ReferenceFetcher(client)),
        upload=partial(put_picture, client),
        secret="s" * 32,
        max_queued=100,
        rules=Rules(allows_private=True),
    )


@pytest.fixture
async def client(doors: Doors, directory: TenantDirectory, files: FilesSink) -> AsyncIterator[httpx.AsyncClient]:
    """Return Alice's client of the HTTP side."""

    @asynccontextmanager
    async def open_parts() -> AsyncIterator[Parts]:
        keys = KeyRing({"alice": (KEY,)}, directory=directory, secret="s" * 32)
        operations = Operations(doors, wait_s=20)
        yield Parts(operations=operations, keys=keys, files=files, kept=doors.kept, store=doors.store)

    app = make_ingress([WaveSpeed()], open_parts)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE, headers=headers) as client,
    ):
        yield client


@pytest.fixture
def replica(store: TaskStore, signal: StoreSignal, sinks: Mapping[str, Sink]) -> Replica:
    """Return a replica that may fetch from this machine."""
    fetcher = ReferenceFetcher(GuardedClient(Rules(allows_private=True)))
    doors = ReplicaDoors(store=store, signal=signal, fetcher=fetcher, decode=decode_here, sinks=sinks)
    return Replica("r1", engine=Engine({"uno": SolidPipeline()}), doors=doors, limits=Limits(capacity=1, lease_s=20))


@pytest.fixture
def sender(database: Database, signal: StoreSignal, sinks: Mapping[str, Sink]) -> WebhookSender:
    """Return what sends webhooks to this machine."""
    scribe = Scribe(dialects={"wavespeed": WaveSpeed()}, sinks=sinks, signer=WebhookSigner("s" * 32))
    client = GuardedClient(Rules(allows_private=True))
    return WebhookSender(outbox=Outbox(database), signal=signal, client=client, scribe=scribe)


def reference() -> str:
    """Return a small PNG as a data URI."""
    file = BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


@asynccontextmanager
async def at_work(replica: Replica, sender: WebhookSender) -> AsyncIterator[None]:
    """Run a replica and a sender for the length of a block."""
    stopping = asyncio.Event()
    async with running(replica), asyncio.TaskGroup() as group:
        group.create_task(sender.run(stopping))
        yield
        stopping.set()


async def spans_of(collector: Collector, expected: set[str]) -> list[Span]:
    """Wait for spans of all these names."""
    async with asyncio.timeout(PATIENCE_S):
        while not expected <= {span.name for span in collector.spans}:
            await asyncio.to_thread(flush_spans)
    return collector.spans


async def submit(client: httpx.AsyncClient, hook: str, **headers: str) -> None:
    """Ask for a picture, with a secret in everything that may hold one."""
    wish = {"images": [reference()], "prompt": "canary-prompt", "size": "256*256"}
    answer = await client.post(UNO, params={"webhook": f"{hook}?sig=canary-query"}, json=wish, headers=headers)
    answer.raise_for_status()


async def test_a_task_is_one_trace(
    collector: Collector, client: httpx.AsyncClient, replica: Replica, sender: WebhookSender, receiver: Receiver
) -> None:
    """What a caller began goes on: every span of every process is in that trace, and below the accept, once."""
    parent = "b7ad6b7169203331"

    async with at_work(replica, sender):
        await submit(client, receiver.url(), traceparent=f"00-{TRACE}-{parent}-01")
        spans = await spans_of(collector, NAMES)

    assert sorted(span.name for span in spans) == sorted(NAMES)
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    [accept] = [span for span in spans if span.name == "accept"]
    assert accept.parent_span_id.hex() == parent
    assert {span.parent_span_id for span in spans if span is not accept} == {accept.span_id}
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)


async def test_no_span_holds_a_secret(
    collector: Collector, client: httpx.AsyncClient, replica: Replica, sender: WebhookSender, receiver: Receiver
) -> None:
    """Neither a prompt, nor an address, nor a key is in what is sent; a task without a trace begins one."""
    async with at_work(replica, sender):
        await submit(client, receiver.url())
        spans = await spans_of(collector, NAMES)

    assert len({span.trace_id for span in spans}) == 1
    for secret in (b"canary", b"127.0.0.1", KEY.encode(), b"data:"):
        assert secret not in collector.said


def test_a_collector_that_does_not_answer_holds_up_no_end() -> None:
    """A process ends although nobody answers the call that brings its last spans, however long that may take."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}
        environment = {**os.environ, **told}  # noqa: TID251 -- handed on, not read

        ended = subprocess.run([sys.executable, str(TRACED)], env=environment, timeout=UNANSWERED_S, check=False)

    assert ended.returncode == 0


async def test_without_a_collector_a_callers_trace_is_kept(
    client: httpx.AsyncClient, claim_next: Callable[[], Awaitable[Claim]], receiver: Receiver
) -> None:
    """Where no spans are made, a good header is noted with the task as it came, and a bad one is not."""
    good = f"00-{TRACE}-b7ad6b7169203331-01"

    for header in (good, "00-nonsense"):
        await submit(client, receiver.url(), traceparent=header)

    kept = [(await claim_next()).task.traceparent for _ in range(2)]
    assert kept == [good, None]
