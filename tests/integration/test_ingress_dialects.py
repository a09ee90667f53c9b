"""What the HTTP side does for dialects that need more than a question and an answer; the replica is played by hand."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from running_service import free_port
from sqlalchemy import select
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from deployments.database import schema
from deployments.database.database import Database
from deployments.dialects import DIALECTS
from deployments.ingress.application import make_ingress
from deployments.ingress.held import Held
from deployments.ingress.parts import Parts
from deployments.ingress.sockets import MAX_STRANGERS
from deployments.operations.doors import Doors
from deployments.operations.operations import Operations
from deployments.references import FILE, KEPT
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Task, TaskState
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import HTTP_REQUESTS
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.keys import BELIEVE_S, KeyRing, digest, key_id, make_key
from deployments.tenants.tenant import Tenant

CarryOut = Callable[[], Awaitable[Task]]
ClaimNext = Callable[[], Awaitable[Claim]]

KEY, BOBS_KEY = "alice-key-0123456789", "bob-key-0123456789"
BEARER = {"Authorization": f"Bearer {KEY}"}
FAL = {"Authorization": f"Key {KEY}"}
PNG = b"\x89PNG\r\n\x1a\n and more"
PICTURE_URL = "http://pictures.example/mug.png"
USO = {"input_image_urls": [PICTURE_URL], "seed": 7}
SHOP = "https://shop.example"
#: Longer than any test may take.
PATIENCE_S = 20.0


@pytest.fixture
def origins() -> tuple[str, ...]:
    """Return the sites whose pages may ask: none, unless a test says otherwise."""
    return ()


@pytest.fixture
async def app(
    make_doors: Callable[[], Doors], directory: TenantDirectory, origins: tuple[str, ...]
) -> AsyncIterator[FastAPI]:
    """Return a running application that speaks every dialect; two tenants have keys."""
    doors = make_doors()
    keys = KeyRing({"alice": (KEY,), "bob": (BOBS_KEY,)}, directory=directory, secret="s" * 32)
    files: Any = doors.sinks["files"]
    parts = Parts(
        operations=Operations(doors, wait_s=PATIENCE_S), keys=keys, files=files, kept=doors.kept, store=doors.store
    )

    @asynccontextmanager
    async def open_parts() -> AsyncIterator[Parts]:
        yield parts

    app = make_ingress(list(DIALECTS.values()), open_parts, origins=origins)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def address(app: FastAPI) -> AsyncIterator[str]:
    """Return host and port of a web server that runs that application."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE_S):
        while not server.started:  # noqa: ASYNC110 -- the server sets no event
            await asyncio.sleep(0.01)
    yield f"127.0.0.1:{port}"
    server.should_exit = True
    await serving


@pytest.fixture
async def client(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of that web server that shows no key by itself."""
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture
async def socket(address: str) -> AsyncIterator[ClientConnection]:
    """Return an open WebSocket that has shown Alice's key."""
    async with connect(f"ws://{address}/v1") as socket:
        await say(socket, {"taskType": "authentication", "apiKey": KEY})
        [greeting] = (await hear(socket))["data"]
        assert greeting["connectionSessionUUID"]
        yield socket


async def say(socket: ClientConnection, *tasks: object) -> None:
    """Send a frame of tasks."""
    await socket.send(json.dumps(tasks))


async def hear(socket: ClientConnection) -> dict[str, Any]:
    """Return the next frame."""
    async with asyncio.timeout(PATIENCE_S):
        frame: dict[str, Any] = json.loads(await socket.recv())
        return frame


def inference(**members: Any) -> dict[str, Any]:
    """Make an image inference of Runware's language."""
    plain = {
        "taskType": "imageInference",
        "taskUUID": str(uuid.uuid4()),
        "model": "bytedance:uso@1",
        "positivePrompt": "a red mug",
        "inputs": {"referenceImages": [PICTURE_URL]},
    }
    return plain | members


async def until(store: TaskStore, task_id: str, state: TaskState) -> Task:
    """Wait until a task of Alice's is in a state."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            task = await store.read(task_id, tenant_id="alice")
            assert task is not None
            if task.state is state:
                return task
            await asyncio.sleep(0.05)


async def test_a_granted_address_takes_a_picture_that_requests_can_use(
    client: httpx.AsyncClient, claim_next: ClaimNext
) -> None:
    """The PUT needs no key; the link it leads to is read from the folder, not fetched through our own door."""
    wish = {"filename": "mug.png", "size": len(PNG)}
    ticket = (await client.post("/api/v3/media/uploads", json=wish, headers=BEARER)).json()["data"]

    put = await client.put(ticket["upload"]["url"], content=PNG, headers=ticket["upload"]["headers"])
    again = await client.put(ticket["upload"]["url"], content=PNG)
    body = {"images": [ticket["download_url"]], "prompt": "toys"}
    await client.post("/api/v3/wavespeed-ai/uno", json=body, headers=BEARER)

    [reference] = (await claim_next()).request.references
    assert (put.status_code, again.status_code) == (200, 400)
    assert reference.source == FILE + ticket["download_url"].rpartition("/")[2]
    assert (await client.get(ticket["download_url"])).content == PNG


async def test_an_uploaded_uuid_is_its_tenants(client: httpx.AsyncClient, claim_next: ClaimNext) -> None:
    """The same UUID means a kept picture to the tenant that keeps it, and another name to everybody else."""
    upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": "data:image/png;base64,iVBORw0KGgo="}
    [kept] = (await client.post("/v1", json=[upload], headers=BEARER)).json()["data"]
    wish = {"inputs": {"referenceImages": [kept["imageUUID"]]}, "deliveryMethod": "async"}

    for key in (KEY, BOBS_KEY):
        await client.post("/v1", json=[inference(**wish)], headers={"Authorization": f"Bearer {key}"})

    sources = [(await claim_next()).request.references[0].source for _ in range(2)]
    assert all(source.startswith(KEPT) for source in sources)
    assert sources[0] != sources[1]


async def test_an_upload_token_keeps_pictures_and_opens_nothing_else(client: httpx.AsyncClient) -> None:
    """It stands for its tenant's key where pictures are kept; the key itself does too, and a wrong one does not."""
    path = "/fal/rest/storage/auth/token?storage_type=fal-cdn-v3"
    token = (await client.post(path, json={}, headers=FAL)).json()["token"]
    shown = [f"Bearer {token}", f"Key {KEY}", f"Bearer {token}0"]

    kept = [await client.post("/fal/cdn/files/upload", content=PNG, headers={"Authorization": each}) for each in shown]
    submitted = await client.post("/fal/queue/fal-ai/uso", json=USO, headers={"Authorization": f"Bearer {token}"})

    assert [answer.status_code for answer in kept] == [200, 200, 401]
    assert (await client.get(kept[0].json()["access_url"])).content == PNG
    assert submitted.status_code == 401


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("queue.fal.run", "/fal-ai/uso"),
        ("127.0.0.1", "/fal/queue/fal-ai/uso"),
    ],
)
async def test_the_host_says_what_a_bare_path_means(client: httpx.AsyncClient, host: str, path: str) -> None:
    """On the queue's own host name, and below its prefix, a submission is queued and not waited for."""
    answer = await client.post(path, json=USO, headers={**FAL, "Host": host})

    assert (answer.status_code, answer.json()["status"]) == (200, "IN_QUEUE")
    assert answer.headers["x-fal-request-id"] == answer.json()["request_id"]


async def test_a_proxied_call_is_led_to_its_target_and_no_further(client: httpx.AsyncClient) -> None:
    """The header names fal's own hosts, which are this server's prefixes; anything else is refused and not fetched."""
    good = {**FAL, "x-fal-target-url": "https://queue.fal.run/fal-ai/uso"}

    queued = await client.post("/fal/proxy", json=USO, headers=good)
    refused = await client.post("/fal/proxy", json=USO, headers={**good, "x-fal-target-url": "http://169.254.169.254/"})

    assert (queued.status_code, queued.json()["status"]) == (200, "IN_QUEUE")
    assert refused.status_code == 412


async def test_a_task_is_there_in_its_own_dialect_alone(client: httpx.AsyncClient) -> None:
    """The id of a task that was accepted in one language means nothing in another, to its own tenant too."""
    wish = {"images": [PICTURE_URL], "prompt": "toys"}
    task = (await client.post("/api/v3/wavespeed-ai/uno", json=wish, headers=BEARER)).json()["data"]
    path = f"/fal/queue/fal-ai/uso/requests/{uuid.UUID(task['id'])}"

    answers = [await client.get(f"{path}/status", headers=FAL), await client.put(f"{path}/cancel", headers=FAL)]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert (await client.get(task["urls"]["get"], headers=BEARER)).json()["data"]["status"] == "created"


@pytest.mark.parametrize("is_batch", [False, True])
async def test_deleting_a_task_deletes_its_files(
    client: httpx.AsyncClient, carry_out: CarryOut, tmp_path: Path, *, is_batch: bool
) -> None:
    """When the answer comes nothing of its pictures is on the disk, and their links lead nowhere."""
    wish = {"images": [PICTURE_URL], "prompt": "a mug"}
    task = (await client.post("/api/v3/wavespeed-ai/uno", json=wish, headers=BEARER)).json()["data"]
    await carry_out()
    done = (await client.get(task["urls"]["get"], headers=BEARER)).json()["data"]

    if is_batch:
        answer = await client.post("/api/v3/predictions/delete", json={"ids": [task["id"]]}, headers=BEARER)
    else:
        answer = await client.delete(f"/api/v3/predictions/{task['id']}", headers=BEARER)

    assert answer.status_code == 200
    assert len(done["outputs"]) == 1
    assert list((tmp_path / "outputs").iterdir()) == []
    assert (await client.get(done["outputs"][0])).status_code == 404
    assert (await client.get(task["urls"]["get"], headers=BEARER)).status_code == 404


async def test_no_page_of_another_site_may_ask(client: httpx.AsyncClient) -> None:
    """Unless the operator names its site, a browser is told nothing that would let a page read an answer."""
    answer = await client.post("/fal/queue/fal-ai/uso", json=USO, headers={**FAL, "Origin": SHOP})

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origins", [(SHOP,)])
async def test_a_page_of_a_named_site_may_ask(client: httpx.AsyncClient) -> None:
    """Its browser's preflight is answered, with the headers that carry keys, and the request's id may be read."""
    wants = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }

    preflight = await client.options("/fal/queue/fal-ai/uso", headers=wants)
    answer = await client.post("/fal/queue/fal-ai/uso", json=USO, headers={**FAL, "Origin": SHOP})
    other = await client.options("/fal/queue/fal-ai/uso", headers=wants | {"Origin": "https://other.example"})

    assert (preflight.status_code, other.status_code) == (200, 400)
    assert preflight.headers["access-control-allow-origin"] == SHOP
    assert "x-fal-request-id" in answer.headers["access-control-expose-headers"].lower()


@pytest.mark.parametrize("path", ["/healthz", "/files/none", "/nowhere", "/api/v3/balance", "/fal/queue/fal-ai/uso"])
async def test_every_answer_is_guarded(client: httpx.AsyncClient, path: str) -> None:
    """Good or bad, an answer says that it is no page, and that its type is not to be guessed at."""
    answer = await client.get(path)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_a_synchronous_caller_who_hangs_up_wants_no_picture(
    client: httpx.AsyncClient, claim_next: ClaimNext, store: TaskStore
) -> None:
    """A run ends with the connection it was asked for on."""
    calling = asyncio.create_task(client.post("/fal/run/fal-ai/uso", json=USO, headers=FAL))
    claim = await claim_next()

    calling.cancel()

    await until(store, claim.task.id, TaskState.CANCELLED)


async def test_a_call_that_is_cut_off_leaves_no_task_that_nobody_waits_for(app: FastAPI, database: Database) -> None:
    """Ray Serve cancels what answers a caller who hangs up; that may be while the task is being written."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here", headers=FAL) as client:
        for turns in range(0, 200, 4):
            answering = asyncio.create_task(client.post("/fal/run/fal-ai/uso", json=USO))
            for _ in range(turns):
                await asyncio.sleep(0)
            answering.cancel()
            await asyncio.wait({answering})

    async with asyncio.timeout(PATIENCE_S):
        while set(await database.rows(select(schema.tasks.c.state))) != {("cancelled",)}:  # noqa: ASYNC110 -- no event
            await asyncio.sleep(0.01)


async def test_a_call_that_may_not_be_held_leaves_no_task_behind(
    app: FastAPI, client: httpx.AsyncClient, database: Database
) -> None:
    """Who holds as many calls open as they may is refused, and nothing is drawn for them."""
    app.state.held = Held(per_tenant=0)

    refused = await client.post("/fal/run/fal-ai/uso", json=USO, headers=FAL)

    assert refused.status_code == 429
    assert await database.rows(select(schema.tasks.c.state)) == [("cancelled",)]


async def test_a_waiting_caller_who_hangs_up_in_another_dialect_loses_nothing(
    client: httpx.AsyncClient, claim_next: ClaimNext, store: TaskStore
) -> None:
    """WaveSpeed's tasks can be asked for later, so they go on."""
    wish = {"images": [PICTURE_URL], "prompt": "toys", "enable_sync_mode": True}
    calling = asyncio.create_task(client.post("/api/v3/wavespeed-ai/uno", json=wish, headers=BEARER))
    claim = await claim_next()

    calling.cancel()
    await asyncio.wait({calling})

    found = await store.read(claim.task.id, tenant_id="alice")
    assert found is not None
    assert found.state is TaskState.RUNNING


async def test_a_followed_task_is_told_until_its_end(client: httpx.AsyncClient, carry_out: CarryOut) -> None:
    """The stream begins with the present state and closes after the last one."""
    submitted = (await client.post("/fal/queue/fal-ai/uso", json=USO, headers=FAL)).json()
    events: list[dict[str, Any]] = []

    async with client.stream("GET", f"{submitted['status_url']}/stream", headers=FAL) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
                if len(events) == 1:
                    await carry_out()

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-fal-request-id"] == submitted["request_id"]
    assert (events[0]["status"], events[-1]["status"]) == ("IN_QUEUE", "COMPLETED")


async def test_a_stream_is_taken_up_where_it_broke_off(client: httpx.AsyncClient, carry_out: CarryOut) -> None:
    """With the id of the last event, what was told already is not told again."""
    wish = {"images": [PICTURE_URL], "prompt": "toys"}
    task = (await client.post("/api/v3/wavespeed-ai/uno", json=wish, headers=BEARER)).json()["data"]
    await carry_out()
    path = f"/api/v3/predictions/{task['id']}/stream"
    first = (await client.get(path, headers=BEARER)).text
    [last_id] = [line.removeprefix("id: ") for line in first.splitlines() if line.startswith("id: ")]

    again = (await client.get(path, headers={**BEARER, "Last-Event-ID": last_id})).text

    assert "event: result" in first
    assert "event:" not in again


async def test_a_batch_is_answered_as_a_whole(client: httpx.AsyncClient, carry_out: CarryOut) -> None:
    """Parts of an array are carried out beside one another; a part that cannot be understood touches no other."""
    batch = [inference(), inference(numberResults=99)]
    calling = asyncio.create_task(client.post("/v1", json=batch, headers=BEARER))
    await carry_out()

    answer = await calling

    assert answer.status_code == 200
    assert [item["taskUUID"] for item in answer.json()["data"]] == [batch[0]["taskUUID"]]
    assert [error["code"] for error in answer.json()["errors"]] == ["valueTooLarge"]


async def test_a_key_may_be_in_the_body(client: httpx.AsyncClient) -> None:
    """A first element that authenticates stands for the header; a wrong key in it is a wrong key."""
    ping = {"taskType": "ping", "ping": True}

    answers = [
        await client.post("/v1", json=[{"taskType": "authentication", "apiKey": key}, ping])
        for key in (KEY, "no-such-key-at-all")
    ]

    assert [answer.status_code for answer in answers] == [200, 401]
    assert answers[1].json()["errors"][0]["code"] == "invalidApiKey"


async def test_a_uuid_is_used_once(client: httpx.AsyncClient) -> None:
    """A second task of the same UUID is a conflict for its tenant, and none for another."""
    wish = inference(deliveryMethod="async")
    keys = (KEY, KEY, BOBS_KEY)

    answers = [await client.post("/v1", json=[wish], headers={"Authorization": f"Bearer {key}"}) for key in keys]

    assert [answer.status_code for answer in answers] == [200, 400, 200]
    assert answers[1].json()["errors"][0]["code"] == "conflictTaskUUID"


async def test_a_socket_pongs_while_tasks_run(socket: ClientConnection, carry_out: CarryOut) -> None:
    """A ping is answered at once, before the result of a task that was asked for earlier."""
    wish = inference()
    await say(socket, wish)
    await say(socket, {"taskType": "ping", "ping": True})

    pong = await hear(socket)
    await carry_out()
    result = await hear(socket)

    assert pong["data"][0]["pong"] is True
    assert [item["taskUUID"] for item in result["data"]] == [wish["taskUUID"]]
    assert "errors" not in result


@pytest.mark.parametrize("frame", ["", "{", "[]", "null", "[1]", '[{"taskType": 7}]', "[" * 5000, '[{"a": NaN}]'])
async def test_a_broken_frame_ends_no_conversation(socket: ClientConnection, frame: str) -> None:
    """It is answered with an error, and the next frame as if nothing had happened."""
    await socket.send(frame)
    await say(socket, {"taskType": "ping", "ping": True})

    broken, pong = await hear(socket), await hear(socket)

    assert broken["errors"]
    assert pong["data"][0]["pong"] is True


async def test_a_stranger_is_told_so(address: str) -> None:
    """Without a key nothing is done; a wrong one is answered without a task's UUID, so that no client waits for one."""
    async with connect(f"ws://{address}/v1") as socket:
        await say(socket, inference())
        early = await hear(socket)
        await say(socket, {"taskType": "authentication", "apiKey": "no-such-key-at-all"})
        wrong = await hear(socket)
        await say(socket, inference())
        late = await hear(socket)

    assert early["errors"][0]["code"] == "missingApiKey"
    assert late["errors"][0]["code"] == "invalidApiKey"
    assert (wrong["errors"][0]["code"], wrong["errors"][0]["taskType"]) == ("invalidApiKey", "authentication")
    assert "taskUUID" not in wrong["errors"][0]


async def test_a_conversation_is_counted(address: str) -> None:
    """The opening counts as a call of its own, and every frame and task by the status that its answer stands for."""
    keyed = {"taskType": "authentication", "apiKey": KEY}
    wrongly = {"taskType": "authentication", "apiKey": "no-such-key-at-all"}
    before = counted_on_sockets()

    async with connect(f"ws://{address}/v1") as socket:
        for tasks in ([wrongly], [keyed], [{"taskType": 7}], [{"taskType": "ping", "ping": True}]):
            await say(socket, *tasks)
            await hear(socket)

    counted = {key: count - before[key] for key, count in counted_on_sockets().items()}
    assert counted == {("socket", "101"): 1, ("frame", "200"): 2, ("frame", "400"): 1, ("frame", "401"): 1}


def counted_on_sockets() -> dict[tuple[str, str], float]:
    """Return how often this process has counted what on Runware's sockets, by operation and status."""
    named = [("socket", "101"), ("frame", "200"), ("frame", "400"), ("frame", "401")]
    return {
        (operation, status): value_of(HTTP_REQUESTS, dialect="runware", operation=operation, status=status)
        for operation, status in named
    }


async def test_a_caller_who_leaves_the_socket_loses_nothing(
    address: str, client: httpx.AsyncClient, carry_out: CarryOut
) -> None:
    """What was asked for on a socket can be had over REST after it has closed."""
    wish = inference(deliveryMethod="async")
    async with connect(f"ws://{address}/v1?sdk=js") as socket:
        await say(socket, {"taskType": "authentication", "apiKey": KEY})
        await hear(socket)
        await say(socket, wish)
        await hear(socket)
    await carry_out()

    ask = {"taskType": "getResponse", "taskUUID": wish["taskUUID"]}
    answer = (await client.post("/v1", json=[ask], headers=BEARER)).json()

    assert [item["status"] for item in answer["data"]] == ["success"]


async def test_a_crowd_of_idle_and_slow_sockets_holds_up_nobody(address: str, socket: ClientConnection) -> None:
    """Beside many that say nothing, or say it byte by byte, a ping is answered at once."""
    async with AsyncExitStack() as crowd:
        idle = [await crowd.enter_async_context(connect(f"ws://{address}/v1")) for _ in range(100)]
        slow = [asyncio.create_task(each.send(drip())) for each in idle[:20]]
        await say(socket, {"taskType": "ping", "ping": True})

        pong = await hear(socket)

        assert pong["data"][0]["pong"] is True
        for each in slow:
            each.cancel()


async def test_a_crowd_without_a_key_makes_way(address: str) -> None:
    """Where as many wait without a key as may, who shows one is let in, and the one who waited longest has to go."""
    async with AsyncExitStack() as crowd:
        silent = [await crowd.enter_async_context(connect(f"ws://{address}/v1")) for _ in range(MAX_STRANGERS)]

        async with connect(f"ws://{address}/v1") as honest:
            await say(honest, {"taskType": "authentication", "apiKey": KEY})
            welcome = await hear(honest)

        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(silent[0].recv(), 20)
        assert "data" in welcome
        await (await silent[-1].ping())


async def drip() -> AsyncIterator[str]:
    """Send a frame that does not come to its end while a test runs."""
    for _ in range(1000):
        yield "["
        await asyncio.sleep(0.1)


async def test_an_oversized_frame_ends_its_own_conversation_alone(address: str, socket: ClientConnection) -> None:
    """It is cut off with the code for it, and another connection goes on."""
    async with connect(f"ws://{address}/v1", max_size=None) as large:
        with suppress(ConnectionClosed):  # it may be cut off before it is all sent
            await large.send("[" + " " * (64 * 1024 * 1024) + "]")
        with pytest.raises(ConnectionClosed) as closed:
            await large.recv()
    await say(socket, {"taskType": "ping", "ping": True})

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    assert (await hear(socket))["data"][0]["pong"] is True


async def test_a_later_key_counts_as_well(socket: ClientConnection) -> None:
    """On a connection that is Alice's, neither a wrong key nor Bob's is welcomed, and her own still is."""
    for key in ("no-such-key-at-all", BOBS_KEY):
        await say(socket, {"taskType": "authentication", "apiKey": key})
        assert (await hear(socket))["errors"][0]["code"] == "invalidApiKey"

    await say(socket, {"taskType": "authentication", "apiKey": KEY})
    assert (await hear(socket))["data"][0]["taskType"] == "authentication"


async def test_a_revoked_key_ends_its_conversation(address: str, app: FastAPI, directory: TenantDirectory) -> None:
    """A key that an operator has taken away opens nothing on a connection that it had opened before."""
    secret, moment = "s" * 32, [0.0]
    key = make_key()
    await directory.add_key("alice", key_id=key_id(key), digest=digest(key, secret=secret))
    ring = KeyRing({}, directory=directory, secret=secret, clock=lambda: moment[0])
    app.state.parts = replace(app.state.parts, keys=ring)
    async with connect(f"ws://{address}/v1") as socket:
        await say(socket, {"taskType": "authentication", "apiKey": key})
        welcome = await hear(socket)
        await directory.revoke_key(key_id(key))
        moment[0] += BELIEVE_S + 1
        await say(socket, inference())

        refused = await hear(socket)

    assert welcome["data"]
    assert refused["errors"][0]["code"] in {"invalidApiKey", "missingApiKey"}


async def test_the_same_key_with_another_webhook_is_another_call(client: httpx.AsyncClient) -> None:
    """What is in the address counts as much as what is in the body."""
    wish = {"images": [PICTURE_URL], "prompt": "toys"}
    headers = {**BEARER, "Idempotency-Key": "order 7"}
    path = "/api/v3/wavespeed-ai/uno"

    answers = [await client.post(f"{path}{query}", json=wish, headers=headers) for query in ("", "?webhook=http://a/")]

    assert [answer.status_code for answer in answers] == [200, 400]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1/hook", "is not at a public address"),
        ("http://localhost/hook", "is not at a public address"),
        ("http://[::ffff:10.0.0.1]/hook", "is not at a public address"),
        ("http://169.254.169.254/latest", "is not at a public address"),
        ("http://a.example:22/hook", "is at a port that is not open"),
    ],
)
async def test_an_address_that_will_never_be_called_is_refused_at_once(
    client: httpx.AsyncClient, store: TaskStore, url: str, words: str
) -> None:
    """Nothing is accepted, whichever dialect names it, and each says so as it says that any address is bad."""
    wish = {"images": [PICTURE_URL], "prompt": "toys", "input_image_urls": [PICTURE_URL]}
    tasks = [inference(**{name: url}) for name in ("webhookURL", "uploadEndpoint")]

    wavespeed = await client.post("/api/v3/wavespeed-ai/uno", params={"webhook": url}, json=wish, headers=BEARER)
    fal = await client.post("/fal/queue/fal-ai/uso", params={"fal_webhook": url}, json=wish, headers=BEARER)
    runware = [(await client.post("/v1", json=[task], headers=BEARER)).json()["errors"][0] for task in tasks]

    assert (wavespeed.status_code, wavespeed.json()["message"]) == (400, f"the webhook address {words}")
    assert (fal.status_code, fal.json()["detail"]) == (400, f"the webhook address {words}")
    assert [(error["code"], error["message"]) for error in runware] == [
        ("invalidWebhookURL", f"the webhook address {words}"),
        ("invalidUploadEndpoint", f"the upload address {words}"),
    ]
    assert await store.claim(models=["uno", "uso"], limit=1, replica_id="r1", lease_s=60) == []


async def test_a_tenants_own_openings_count_at_once(client: httpx.AsyncClient, directory: TenantDirectory) -> None:
    """What an operator opened for a tenant is accepted from it."""
    await directory.change(Tenant(id="alice", openings=frozenset({"10.20.0.0/16"})))
    wish = {"images": [PICTURE_URL], "prompt": "toys"}
    urls = ["http://10.20.0.9:9000/hook", "http://10.21.0.9/hook"]

    answers = [
        await client.post("/api/v3/wavespeed-ai/uno", params={"webhook": url}, json=wish, headers=BEARER)
        for url in urls
    ]

    assert [answer.status_code for answer in answers] == [200, 400]


async def test_a_resent_uuid_is_a_conflict_also_where_its_first_copy_left_no_room(
    client: httpx.AsyncClient, directory: TenantDirectory
) -> None:
    """The package must not take its own accepted task for a refused one."""
    await directory.change(Tenant(id="alice", max_queued=1))
    wish = inference(deliveryMethod="async")

    answers = [await client.post("/v1", json=[wish], headers=BEARER) for _ in range(2)]
    other = await client.post("/v1", json=[inference(deliveryMethod="async")], headers=BEARER)

    assert answers[1].json()["errors"][0]["code"] == "conflictTaskUUID"
    assert other.json()["errors"][0]["code"] == "rateLimitExceeded"


async def test_too_many_kept_pictures_are_refused_in_every_dialects_words(
    client: httpx.AsyncClient, directory: TenantDirectory
) -> None:
    """Beyond what its tenant may keep nothing is taken or granted, and it is said when there is room."""
    await directory.change(Tenant(id="alice", max_kept=len(PNG) + 5))
    upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": "data:image/png;base64,iVBORw0KGgo="}
    initiate, fal = "/fal/rest/storage/upload/initiate", {"Authorization": f"Key {KEY}"}

    kept = await client.post("/api/v3/media/upload/binary", files={"file": ("a.png", PNG)}, headers=BEARER)
    answers = [
        await client.post("/api/v3/media/upload/binary", files={"file": ("a.png", PNG)}, headers=BEARER),
        await client.post("/v1", json=[upload], headers=BEARER),
        await client.post(initiate, json={"content_type": "image/png", "file_name": "a.png"}, headers=fal),
    ]

    assert [kept.status_code, *(answer.status_code for answer in answers)] == [200, 429, 429, 429]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)


async def test_a_put_of_more_than_its_tenant_may_keep_is_refused(
    client: httpx.AsyncClient, directory: TenantDirectory
) -> None:
    """The grant holds no more room than there can be; what is larger never fits, and the address says so."""
    await directory.change(Tenant(id="alice", max_kept=len(PNG)))
    wanted = {"content_type": "image/png", "file_name": "a.png"}
    granted = await client.post(
        "/fal/rest/storage/upload/initiate", json=wanted, headers={"Authorization": f"Key {KEY}"}
    )

    puts = [await client.put(granted.json()["upload_url"], content=each) for each in (PNG + b"more", PNG)]

    assert [put.status_code for put in puts] == [413, 200]
