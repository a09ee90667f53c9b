"""The HTTP side in this process: real store, real files, the WaveSpeed dialect, and a replica played by hand."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI

from deployments.bodies import LARGE_BODY_BYTES, MAX_BODY_BYTES
from deployments.delivery.files import FilesSink
from deployments.delivery.sink import EncodedImage
from deployments.dialects.wavespeed import WaveSpeed
from deployments.ingress.application import make_ingress
from deployments.ingress.calls import MAX_FRESH_SEED
from deployments.ingress.parts import Parts
from deployments.operations.doors import Doors
from deployments.operations.operations import Operations
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Task, TaskState
from deployments.telemetry.instruments import value_of
from deployments.telemetry.logs import configure_logging
from deployments.telemetry.metrics import HTTP_REQUESTS, HTTP_SECONDS
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.keys import KeyRing, digest, key_id, make_key
from deployments.tenants.tenant import Tenant

CarryOut = Callable[[], Awaitable[Task]]
ClaimNext = Callable[[], Awaitable[Claim]]
Headers = Mapping[str, str]

UNO = "/api/v3/wavespeed-ai/uno"
KEY = "alice-key-0123456789"
ALICE = {"Authorization": f"Bearer {KEY}"}
BOB = {"Authorization": "Bearer bob-key-0123456789"}
#: The address by which these tests reach the service.
HERE = "http://uxo.test:8000"
WISH: dict[str, Any] = {"images": ["http://pictures.example/mug.png"], "prompt": "a secret mug", "seed": 7}
USO_WISH: dict[str, Any] = {"reference_images": WISH["images"], "seed": 7}
#: A link whose time was over in 1970.
EXPIRED = f"old-1-{'0' * 32}.jpg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the application answered, without a client between."""

    #: HTTP status.
    status: int
    #: The raw body.
    body: bytes
    #: How many pieces of the request's body were asked for.
    pieces_read: int

    @property
    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


@pytest.fixture
def parts(make_doors: Callable[[], Doors], directory: TenantDirectory, files: FilesSink) -> Parts:
    """Return what the ingress works through; two tenants have keys."""
    doors = make_doors()
    configured = {"alice": (KEY,), "bob": ("bob-key-0123456789",)}
    return Parts(
        operations=Operations(doors, wait_s=20),
        keys=KeyRing(configured, directory=directory, secret="s" * 32),
        files=files,
        kept=doors.kept,
        store=doors.store,
    )


@pytest.fixture
async def start() -> AsyncIterator[Callable[[Parts], Awaitable[FastAPI]]]:
    """Return a starter of applications, which run until the test ends."""
    async with AsyncExitStack() as started:

        async def start_one(parts: Parts) -> FastAPI:
            @asynccontextmanager
            async def open_parts() -> AsyncIterator[Parts]:
                yield parts

            app = make_ingress([WaveSpeed()], open_parts)
            await started.enter_async_context(app.router.lifespan_context(app))
            return app

        yield start_one


@pytest.fixture
async def app(start: Callable[[Parts], Awaitable[FastAPI]], parts: Parts) -> FastAPI:
    """Return a running application."""
    return await start(parts)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Return Alice's client of that application."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE, headers=ALICE) as client:
        yield client


@pytest.fixture
def configure_logs() -> Iterator[Callable[[], None]]:
    """Return what a process does about its logs when it starts; undone when the test ends."""
    # Called by the test: while fixtures are made, standard error is not yet the one that the test reads.
    yield configure_logging
    structlog.reset_defaults()


async def ask(
    app: FastAPI, path: str, *, headers: Headers, method: str = "POST", pieces: Sequence[bytes] = (), query: bytes = b""
) -> Answer:
    """Send a call to the application itself, which reads the pieces of its body only when it wants them."""
    left = list(pieces)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        piece = left.pop(0) if left else b""
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": query,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return Answer(status=sent[0]["status"], body=body, pieces_read=len(pieces) - len(left))


def task_in(answer: httpx.Response) -> dict[str, Any]:
    """Return the task in a good answer."""
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


@pytest.mark.parametrize(
    ("path", "dialect", "operation", "status"),
    [
        ("/api/v3/balance", "wavespeed", "balance", "200"),
        ("/api/v3/nowhere/at/all", "wavespeed", "none", "404"),
        ("/healthz", "none", "health", "200"),
        ("/elsewhere", "none", "other", "404"),
    ],
)
async def test_a_call_is_counted_by_its_route(
    client: httpx.AsyncClient, path: str, dialect: str, operation: str, status: str
) -> None:
    """Every answer is counted and timed under its dialect, the name of its route and its status; no path is a label."""
    named = {"dialect": dialect, "operation": operation}
    before = value_of(HTTP_REQUESTS, status=status, **named), value_of(HTTP_SECONDS, "_count", **named)

    await client.get(path)

    after = value_of(HTTP_REQUESTS, status=status, **named), value_of(HTTP_SECONDS, "_count", **named)
    assert after == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize(("path", "wish"), [(UNO, WISH), ("/api/v3/bytedance/uso", USO_WISH)])
async def test_a_task_is_submitted_carried_out_and_read(
    client: httpx.AsyncClient, carry_out: CarryOut, path: str, wish: dict[str, Any]
) -> None:
    """A submission answers with an address at which the finished task is found, whose picture can be fetched."""
    submitted = task_in(await client.post(path, json=wish))
    await carry_out()

    ended = task_in(await client.get(submitted["urls"]["get"]))

    assert (submitted["status"], submitted["outputs"]) == ("created", [])
    assert (ended["id"], ended["status"]) == (submitted["id"], "completed")
    assert (await client.get(ended["outputs"][0])).content == b"the bytes of a picture"


async def test_a_synchronous_call_is_answered_with_the_end(client: httpx.AsyncClient, carry_out: CarryOut) -> None:
    """A caller in sync mode gets the finished task in the one answer."""
    calling = asyncio.create_task(client.post(UNO, json=WISH | {"enable_sync_mode": True}))

    await carry_out()
    ended = task_in(await asyncio.wait_for(calling, 20))

    assert (ended["status"], len(ended["outputs"])) == ("completed", 1)


async def test_the_drawn_seed_is_one_that_every_client_can_hold(
    client: httpx.AsyncClient, claim_next: ClaimNext
) -> None:
    """A call without a seed gets one, below 2**31 for the last of its pictures too."""
    await client.post(UNO, json=WISH | {"seed": -1, "num_images": 4})

    request = (await claim_next()).request

    assert 1 <= request.seed <= MAX_FRESH_SEED
    assert MAX_FRESH_SEED + request.num_images <= 2**31


@pytest.mark.parametrize("size", [LARGE_BODY_BYTES // 2, LARGE_BODY_BYTES * 4])
async def test_bodies_of_every_size_arrive_whole(client: httpx.AsyncClient, claim_next: ClaimNext, size: int) -> None:
    """A reference sent inside the body reaches the replica as it was, whether it is parsed here or off the loop."""
    source = "data:image/png;base64," + "A" * size

    task_in(await client.post(UNO, json=WISH | {"images": [source]}))

    assert (await claim_next()).request.references[0].source == source


@pytest.mark.parametrize("filler", [1, LARGE_BODY_BYTES])
async def test_a_bad_body_is_refused_at_every_size(client: httpx.AsyncClient, filler: int) -> None:
    """What is wrong with a body is said in the dialect's shape, wherever it was parsed."""
    answer = await client.post(UNO, json=WISH | {"prompt": 5, "filler": "x" * filler})

    assert (answer.status_code, answer.json()) == (400, {"code": 400, "message": "prompt must be a string"})


async def test_another_tenants_task_is_not_found(client: httpx.AsyncClient) -> None:
    """A task's address is of no use to another tenant."""
    submitted = task_in(await client.post(UNO, json=WISH))

    answer = await client.get(submitted["urls"]["get"], headers=BOB)

    assert (answer.status_code, answer.json()) == (404, {"code": 404, "message": "task not found"})


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong-key-0123456789"}, {"Authorization": "Basic eA=="}]
)
async def test_strangers_are_turned_away_unread(app: FastAPI, headers: Headers) -> None:
    """Without a good key nothing of the body is read, however large it says it is."""
    answer = await ask(app, UNO, headers={"Host": "a", "Content-Length": "99999999999", **headers}, pieces=[b"{"] * 3)

    assert (answer.status, answer.json["code"], answer.pieces_read) == (401, 401, 0)


async def test_a_body_that_announces_too_much_is_refused_unread(app: FastAPI) -> None:
    """A length over the limit is enough to refuse a body."""
    headers = {"Host": "a", "Content-Length": str(MAX_BODY_BYTES + 1), **ALICE}

    answer = await ask(app, UNO, headers=headers, pieces=[b"{"] * 3)

    assert (answer.status, answer.json["code"], answer.pieces_read) == (413, 413, 0)


async def test_a_body_is_read_no_further_than_the_limit(app: FastAPI) -> None:
    """A body of unknown length is refused at the first byte too many, and the rest of it is left alone."""
    pieces = [b" " * (MAX_BODY_BYTES // 4)] * 4 + [b" "] * 9

    answer = await ask(app, UNO, headers={"Host": "a", **ALICE}, pieces=pieces)

    assert (answer.status, answer.json["code"], answer.pieces_read) == (413, 413, 5)


async def test_the_largest_body_is_read(app: FastAPI) -> None:
    """A body of exactly the limit is not too large: it is judged by what it says."""
    body = json.dumps(WISH).encode().ljust(MAX_BODY_BYTES)

    answer = await ask(app, UNO, headers={"Host": "a", "Content-Length": str(len(body)), **ALICE}, pieces=[body])

    assert answer.status == 200


@pytest.mark.parametrize(
    "path", ["/api/v3", "/api/v3/", "/api/v3/nothing", "/api/v3/wavespeed-ai/uno/", "/api/v3/predictions/"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "TRACE", "PROPFIND"])
async def test_an_unknown_address_is_a_404_of_the_dialect(client: httpx.AsyncClient, method: str, path: str) -> None:
    """Below a dialect's root everything is answered in its shape, for callers with a key and without."""
    answer = await client.request(method, path)

    assert (answer.status_code, answer.json()) == (404, {"code": 404, "message": "There is nothing here."})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", UNO),
        ("PUT", UNO),
        ("PROPFIND", UNO),
        ("POST", "/api/v3/predictions/1"),
        ("DELETE", "/api/v3/predictions/1/result"),
    ],
)
async def test_a_wrong_method_is_a_405_of_the_dialect(client: httpx.AsyncClient, method: str, path: str) -> None:
    """A route that is addressed with another method says so in the dialect's shape."""
    answer = await client.request(method, path)

    assert (answer.status_code, answer.json()["code"]) == (405, 405)


async def test_elsewhere_there_is_nothing(client: httpx.AsyncClient) -> None:
    """Outside every dialect's root and the pages there is a plain 404, and no description of the framework's own."""
    paths = ("/", "/redoc", "/openapi.json", "/files", "/metrics", "/uploads")
    statuses = {(await client.get(path)).status_code for path in paths}

    assert statuses == {404}


@pytest.mark.parametrize(
    "host", ["", "a b", "evil.example/x?", "a@b", "[", "[::1", "a:b", "a:999999", "ä.example", "a\\b"]
)
async def test_a_bad_host_never_becomes_a_link(app: FastAPI, host: str) -> None:
    """A Host header that is no host is refused, whatever else is right."""
    answer = await ask(app, UNO, headers={"Host": host, **ALICE}, pieces=[json.dumps(WISH).encode()])

    assert (answer.status, answer.json["code"]) == (400, 400)
    assert answer.json["message"].startswith("the Host header is not valid")


@pytest.mark.parametrize("host", ["localhost", "uxo.example", "10.0.0.1:8000", "[::1]", "[fe80::1]:8000"])
async def test_links_begin_where_the_caller_is(app: FastAPI, host: str) -> None:
    """Without a configured address, links lead to the address by which the caller came."""
    answer = await ask(app, UNO, headers={"Host": host, **ALICE}, pieces=[json.dumps(WISH).encode()])

    assert answer.json["data"]["urls"]["get"].startswith(f"http://{host}/api/v3/predictions/")


async def test_links_begin_at_the_configured_address(
    start: Callable[[Parts], Awaitable[FastAPI]], parts: Parts, carry_out: CarryOut
) -> None:
    """With a public address every link begins there, and the Host header, good or bad, decides nothing."""
    app = await start(replace(parts, base_url="https://pictures.example/uxo"))
    submitted = await ask(app, UNO, headers={"Host": "a b", **ALICE}, pieces=[json.dumps(WISH).encode()])
    await carry_out()

    path = f"/api/v3/predictions/{submitted.json['data']['id']}"
    ended = await ask(app, path, headers={"Host": "evil.example", **ALICE}, method="GET")

    links = [ended.json["data"]["urls"]["get"], *ended.json["data"]["outputs"]]
    assert len(links) == 2
    assert all(link.startswith("https://pictures.example/uxo/") for link in links)


@pytest.mark.parametrize("host", ["uxo_1:8000", "10.0.0.7", "[::1]:8000", "uxo.example"])
async def test_a_good_host_becomes_the_start_of_links(app: FastAPI, host: str) -> None:
    """Links lead back to where the caller reached the service, Compose names with an underscore included."""
    answer = await ask(app, UNO, headers={"Host": host, **ALICE}, pieces=[json.dumps(WISH).encode()])

    assert answer.json["data"]["urls"]["get"].startswith(f"http://{host}/api/v3/predictions/")


@pytest.mark.parametrize(
    ("extension", "content_type"), [("jpg", "image/jpeg"), ("png", "image/png"), ("webp", "image/webp")]
)
async def test_a_picture_is_nothing_but_a_picture(
    client: httpx.AsyncClient, files: FilesSink, extension: str, content_type: str
) -> None:
    """A file is served under its own type, to one caller's cache, and browsers are told not to guess."""
    value = await files.put("task-1-0", EncodedImage(content=b"<html>", content_type=content_type, extension=extension))

    answer = await client.get(f"/files/{value}")

    assert (answer.status_code, answer.content) == (200, b"<html>")
    assert answer.headers["content-type"] == content_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert re.fullmatch(r"private, max-age=[1-9]\d*, immutable", answer.headers["cache-control"])


async def test_a_picture_can_be_asked_about(client: httpx.AsyncClient, files: FilesSink) -> None:
    """HEAD answers with the length and type, and without the picture; a link needs no key."""
    value = await files.put("task-1-0", EncodedImage(content=b"12345", content_type="image/png", extension="png"))

    answer = await client.head(f"/files/{value}", headers={"Authorization": ""})

    assert (answer.status_code, answer.content) == (200, b"")
    assert (answer.headers["content-length"], answer.headers["content-type"]) == ("5", "image/png")


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (EXPIRED, 410),
        (EXPIRED.replace("old-1-", "new-9999999999-"), 404),
        ("x.jpg", 404),
        ("%2e%2e%2fuxo.db", 404),
        ("..%5cuxo.db", 404),
        ("%00", 404),
    ],
)
async def test_a_link_that_leads_nowhere(client: httpx.AsyncClient, value: str, status: int) -> None:
    """A link whose time is over says so; every other name is not there, and leads out of the folder for nobody."""
    answer = await client.get(f"/files/{value}")

    assert answer.status_code == status
    assert answer.json()["detail"]


async def test_files_are_only_read(client: httpx.AsyncClient, files: FilesSink) -> None:
    """No method but GET and HEAD reaches a file."""
    value = await files.put("task-1-0", EncodedImage(content=b"x", content_type="image/png", extension="png"))

    statuses = {(await client.request(method, f"/files/{value}")).status_code for method in ("PUT", "POST", "DELETE")}

    assert statuses == {405}
    assert (await client.get(f"/files/{value}")).status_code == 200


async def test_health(client: httpx.AsyncClient) -> None:
    """A service that can accept calls is healthy, and says so without a key."""
    answer = await client.get("/healthz", headers={"Authorization": ""})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_without_its_store_the_service_is_unavailable(client: httpx.AsyncClient, tmp_path: Path) -> None:
    """When the database has gone, health says so, and submissions are told to come back in the dialect's shape."""
    (tmp_path / "uxo.db").unlink()

    health, submission = await client.get("/healthz"), await client.post(UNO, json=WISH)

    assert (health.status_code, health.json()["status"]) == (503, "unavailable")
    assert (submission.status_code, submission.json()["code"]) == (503, 503)
    assert int(submission.headers["retry-after"]) > 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_mistake_of_ours_is_a_500_of_the_dialect(
    client: httpx.AsyncClient, tmp_path: Path, configure_logs: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure nobody foresaw is answered in the dialect's shape and logged with its traceback, without the prompt."""
    configure_logs()
    with closing(sqlite3.connect(tmp_path / "uxo.db")) as database:
        database.execute("CREATE TRIGGER no BEFORE INSERT ON task_requests BEGIN SELECT RAISE(ABORT, 'no'); END")

    answer = await client.post(UNO, json=WISH)

    event = json.loads(capsys.readouterr().err)
    assert (answer.status_code, answer.json()["code"]) == (500, 500)
    assert (event["event"], event["dialect"], event["route"]) == ("call_failed", "wavespeed", "submit_uno")
    assert "IntegrityError" in event["exception"]
    assert WISH["prompt"] not in json.dumps(event)
    assert KEY not in json.dumps(event)


ONCE = {"Idempotency-Key": "order 7"}


async def test_a_call_that_comes_again_under_its_key_is_the_same_task(
    client: httpx.AsyncClient, store: TaskStore
) -> None:
    """The same key and body give the same id, though the caller leaves the seed to us; only one task is made."""
    wish = WISH | {"seed": -1}

    ids = {task_in(await client.post(UNO, json=wish, headers=ONCE))["id"] for _ in range(3)}

    assert len(ids) == 1
    assert (await store.backlog())["uno"][TaskState.QUEUED] == 1


async def test_copies_that_race_are_one_task(client: httpx.AsyncClient, store: TaskStore) -> None:
    """Copies of a call that arrive at once are all answered, with one task."""
    answers = await asyncio.gather(*(client.post(UNO, json=WISH, headers=ONCE) for _ in range(8)))

    assert len({task_in(answer)["id"] for answer in answers}) == 1
    assert (await store.backlog())["uno"][TaskState.QUEUED] == 1


@pytest.mark.parametrize(
    ("path", "body"), [(UNO, WISH | {"seed": 8}), (UNO, WISH | {"unknown": 1}), ("/api/v3/bytedance/uso", USO_WISH)]
)
async def test_another_call_under_a_used_key_is_refused(
    client: httpx.AsyncClient, store: TaskStore, path: str, body: dict[str, Any]
) -> None:
    """Whatever differs, in the body or the address, the call is another one, and the key is not its."""
    await client.post(UNO, json=WISH, headers=ONCE)

    answer = await client.post(path, json=body, headers=ONCE)

    assert answer.status_code == 400
    assert answer.json() == {"code": 400, "message": "This idempotency key was used for another call."}
    assert await store.backlog() == {"uno": {TaskState.QUEUED: 1, TaskState.RUNNING: 0}}


async def test_the_same_key_of_another_tenant_is_another_key(client: httpx.AsyncClient) -> None:
    """Tenants do not meet in their keys, with the same body or with another."""
    hers = task_in(await client.post(UNO, json=WISH, headers=ONCE))

    his = task_in(await client.post(UNO, json=WISH, headers=ONCE | BOB))
    his_too = await client.post(UNO, json=WISH | {"seed": 8}, headers=ONCE | BOB)

    assert hers["id"] != his["id"]
    assert his_too.status_code == 400


@pytest.mark.parametrize("key", ["x", "~" * 255, "a b", "7b1f2d3c-0000-4000-8000-000000000000", '"quoted"'])
async def test_any_printable_key_will_do(client: httpx.AsyncClient, key: str) -> None:
    """A key is 1 to 255 printable characters, whatever they are."""
    ids = {task_in(await client.post(UNO, json=WISH, headers={"Idempotency-Key": key}))["id"] for _ in range(2)}

    assert len(ids) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "\x00", "a\tb", "schl\xfcssel"], ids=ascii)
async def test_a_bad_key_is_refused_and_makes_nothing(app: FastAPI, store: TaskStore, key: str) -> None:
    """A key that cannot be one is refused by name, rather than being left out without a word."""
    headers = {"Host": "a", "Idempotency-Key": key, **ALICE}

    answer = await ask(app, UNO, headers=headers, pieces=[json.dumps(WISH).encode()])

    assert answer.status == 400
    assert answer.json["message"] == "Idempotency-Key must be 1 to 255 printable ASCII characters"
    assert await store.backlog() == {}


async def test_a_key_on_a_call_that_makes_nothing_is_left_alone(client: httpx.AsyncClient) -> None:
    """To look at a task twice under one key, or under the key that made it, is to look at it twice."""
    submitted = task_in(await client.post(UNO, json=WISH, headers=ONCE))

    looked = [task_in(await client.get(submitted["urls"]["get"], headers=ONCE)) for _ in range(2)]

    assert looked == [submitted, submitted]


@pytest.mark.parametrize(
    ("limits", "status", "words"),
    [
        ({"max_queued": 0}, 429, "0 tasks are waiting already"),
        ({"max_queued_units": 0.5}, 429, "0 work units are waiting already"),
        ({"budget": 49_999}, 402, "The budget does not cover this request."),
        ({"models": frozenset({"uso"})}, 403, "This model is not available to you."),
    ],
)
async def test_a_tenants_limits_refuse_in_the_dialects_shape(
    client: httpx.AsyncClient, directory: TenantDirectory, limits: dict[str, Any], status: int, words: str
) -> None:
    """A tenant over its limits hears which one it was; only where waiting helps is it told how long to wait."""
    await directory.change(Tenant(id="alice", **limits))

    answer = await client.post(UNO, json=WISH)
    others = await client.post(UNO, json=WISH, headers=BOB)

    assert (answer.status_code, answer.json()) == (status, {"code": status, "message": words})
    assert ("retry-after" in answer.headers) == (status == 429)
    assert others.status_code == 200


async def test_who_asks_too_often_is_told_when_to_come_again(
    client: httpx.AsyncClient, directory: TenantDirectory
) -> None:
    """At two requests a minute the third is refused with the seconds until there is room, and reading stays free."""
    await directory.change(Tenant(id="alice", requests_per_minute=2))
    submitted = [task_in(await client.post(UNO, json=WISH)) for _ in range(2)]

    answer = await client.post(UNO, json=WISH)

    assert (answer.status_code, answer.json()["message"]) == (429, "more than 2 requests in a minute")
    assert 28 <= int(answer.headers["retry-after"]) <= 30
    for _ in range(5):
        task_in(await client.get(submitted[0]["urls"]["get"]))


async def test_a_repeated_call_is_answered_whatever_the_limits(
    client: httpx.AsyncClient, directory: TenantDirectory
) -> None:
    """Who was accepted once may ask again under the key, though by now the tenant may have no more."""
    first = task_in(await client.post(UNO, json=WISH, headers=ONCE))
    await directory.change(Tenant(id="alice", max_queued=0, budget=0, models=frozenset()))

    again = task_in(await client.post(UNO, json=WISH, headers=ONCE))

    assert again["id"] == first["id"]


async def test_keys_that_an_operator_made_and_took_away(client: httpx.AsyncClient, directory: TenantDirectory) -> None:
    """A new key is good at once; wrong, revoked and mistyped ones are answered alike, to the last byte."""
    keys = {name: make_key() for name in ("good", "revoked", "unknown", "of carol")}
    await directory.ensure("carol")
    for name, tenant_id in (("good", "alice"), ("revoked", "alice"), ("of carol", "carol")):
        await directory.add_key(tenant_id, key_id=key_id(keys[name]), digest=digest(keys[name], secret="s" * 32))
    await directory.revoke_key(key_id(keys["revoked"]))
    await directory.delete("carol")

    answers = {
        name: await client.post(UNO, json=WISH, headers={"Authorization": f"Bearer {key}"})
        for name, key in {**keys, "malformed": "x", "mistyped": keys["good"][:-1] + "!"}.items()
    }

    assert answers.pop("good").status_code == 200
    assert {(answer.status_code, answer.content) for answer in answers.values()} == {
        (401, b'{"code": 401, "message": "The API key is missing or not valid."}')
    }


async def test_an_upload_without_a_grant_is_refused_before_its_body(app: FastAPI) -> None:
    """Of a stranger's picture nothing is read."""
    answer = await ask(app, "/uploads/1-0/kept.png", headers={}, method="PUT", pieces=[b"x"] * 10)

    assert (answer.status, answer.pieces_read) == (400, 0)
