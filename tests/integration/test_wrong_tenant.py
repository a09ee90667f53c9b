"""Whatever Bob asks with Alice's ids, he is told what anybody is told of ids that lead nowhere.

Every operation of every OpenAPI document is asked, with every kind of id that this service gives away in every place
that takes one.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from deployments.delivery.files import FilesSink
from deployments.delivery.sink import EncodedImage
from deployments.dialects import DIALECTS
from deployments.dialects.openapi import read_document
from deployments.dialects.runware.names import picture_uuid
from deployments.ingress.application import make_ingress
from deployments.ingress.parts import Parts
from deployments.operations.doors import Doors
from deployments.operations.operations import Operations
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Claim, Output, Success, Task
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.keys import KeyRing

Asked = tuple[str, str, Any]
ALICE, BOB = "alice-key-0123456789", "bob-key-0123456789"
#: In everything that is Alice's.
CANARY = "canary7f3a"
#: The picture that comes of every task of hers.
PICTURE = EncodedImage(
    content=f"\x89PNG\r\n\x1a\n {CANARY}".encode("latin-1"), content_type="image/png", extension="png"
)
PNG_URI = "data:image/png;base64,iVBORw0KGgoA"
METHODS = ("get", "put", "post", "delete")
#: Names of fields, in any dialect, that take an id.
ID_FIELDS = frozenset({"id", "ids", "taskUUID", "media", "request_id", "referenceImages", "seedImage", "images"})
#: What differs from call to call of one and the same kind.
VOLATILE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|\d{5,}|\d{4}-\d\d-\d\dT[\d:.]+Z")
#: Operations of Runware's one address that its document's examples do not show.
MORE_OF_RUNWARE = [
    [{"taskType": "getResponse", "taskUUID": "-"}],
    [{"taskType": "getTaskDetails", "taskUUID": "-"}],
    [{"taskType": "mediaStorage", "taskUUID": str(uuid.uuid4()), "operation": "delete", "media": "-"}],
    [{"taskType": "accountManagement", "taskUUID": str(uuid.uuid4()), "operation": "getDetails"}],
]
KINDS = ("task", "request", "named", "picture", "kept", "link", "once")


def filled(value: Any, found: str) -> Any:
    """Return a body in which every field that takes an id has this one."""
    if isinstance(value, list):
        return [filled(each, found) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: ([found] if isinstance(each, list) else found)
        if name in ID_FIELDS and isinstance(each, list | str)
        else filled(each, found)
        for name, each in value.items()
    }


def bodies_of(dialect: str, operation: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what the document shows as bodies of an operation, and None where it has none."""
    shown = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
    yield from [example["value"] for example in shown.values()] or [None]
    if dialect == "runware":
        yield from MORE_OF_RUNWARE


def operations_of(dialect: str) -> list[Asked]:
    """Return method, path and body of everything that a document says can be asked."""
    return [
        (method.upper(), path, body)
        for path, operations in read_document(dialect)["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
        for body in bodies_of(dialect, operation)
    ]


@pytest.fixture
async def client(make_doors: Callable[[], Doors], directory: TenantDirectory) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a service without a replica, where nobody is kept waiting."""
    doors = make_doors()
    keys = KeyRing({"alice": (ALICE,), "bob": (BOB,)}, directory=directory, secret="s" * 32)
    files: Any = doors.sinks["files"]
    operations = Operations(doors, wait_s=0.05)
    parts = Parts(operations=operations, keys=keys, files=files, kept=doors.kept, store=doors.store)

    @asynccontextmanager
    async def open_parts() -> AsyncIterator[Parts]:
        yield parts

    app = make_ingress(list(DIALECTS.values()), open_parts)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://us") as client,
    ):
        yield client


@pytest.fixture
async def finish(
    store: TaskStore, files: FilesSink, claim_next: Callable[[], Awaitable[Claim]]
) -> Callable[[], Awaitable[Task]]:
    """Return what makes Alice's picture of the next task."""

    async def make() -> Task:
        task = (await claim_next()).task
        value = await files.put(f"{task.id}-1-0", PICTURE)
        output = Output(sink="files", value=value, content_type="image/png", size_bytes=9, sha256="00", seed=7)
        await store.succeed(task.id, fence=task.fence, success=Success(outputs=(output,), inference_ms=1))
        return task

    return make


async def ask(client: httpx.AsyncClient, key: str, asked: Asked, found: str) -> httpx.Response:
    """Ask for one operation with an id wherever it takes one, and as the key under which it counts once."""
    method, path, body = asked
    url = re.sub(r"\{(\w+)\}", lambda name: "uno" if name[1] == "model" else found, path)
    headers = {"Authorization": f"Key {key}" if path.startswith("/fal") else f"Bearer {key}", "Idempotency-Key": found}
    return await client.request(method, url, headers=headers, json=None if body is None else filled(body, found))


@pytest.fixture
async def ids(client: httpx.AsyncClient, finish: Callable[[], Awaitable[Task]]) -> dict[str, str]:
    """Return an id of every kind, all of them Alice's, and all of things that are there."""
    bearer, named = {"Authorization": f"Bearer {ALICE}"}, str(uuid.uuid4())
    wish = {"images": [PNG_URI], "prompt": CANARY}
    task = await client.post("/api/v3/wavespeed-ai/uno", json=wish, headers=bearer | {"Idempotency-Key": named})
    await finish()
    request = await client.post(
        "/fal/queue/fal-ai/uso",
        json={"input_image_urls": [PNG_URI], "prompt": CANARY},
        headers={"Authorization": f"Key {ALICE}"},
    )
    await finish()
    inference: dict[str, Any] = {
        "taskType": "imageInference",
        "taskUUID": named,
        "model": "bytedance:uno@1",
        "positivePrompt": CANARY,
    }
    inference |= {"deliveryMethod": "async", "width": 512, "height": 512, "inputs": {"referenceImages": [PNG_URI]}}
    answer = await client.post("/v1", json=[inference], headers=bearer)
    assert answer.status_code == 200, answer.text
    drawn = await finish()
    upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": PNG_URI}
    [kept] = (await client.post("/v1", json=[upload], headers=bearer)).json()["data"]
    return {
        "task": task.json()["data"]["id"],
        "request": request.json()["request_id"],
        "named": named,
        "picture": picture_uuid(drawn.id, 0),
        "kept": kept["imageUUID"],
        "link": kept["imageURL"].rpartition("/")[2],
        "once": named,
    }


def unknown_like(found: str) -> str:
    """Return an id of the very form of this one that leads nowhere."""
    return re.sub(r"[0-9a-f]{8}(?=$|\.)", "0badc0de", found)


def told(answer: httpx.Response, found: str) -> tuple[int, str]:
    """Return what an answer says, without what differs between any two."""
    return answer.status_code, VOLATILE.sub("~", answer.text.replace(found, "~"))


def test_every_kind_of_id_has_a_place() -> None:
    """Of the documents' operations some take an id in their path and some in their body."""
    asked = [each for dialect in DIALECTS for each in operations_of(dialect)]

    assert len(asked) > 50
    assert any("{id}" in path for _, path, _ in asked)
    assert any(body is not None and filled(body, "x") != body for _, _, body in asked)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_nobody_gets_at_anothers(client: httpx.AsyncClient, ids: dict[str, str], dialect: str) -> None:
    """No byte of what is Alice's reaches Bob, and hers are to him as ids of nothing."""
    # The same through the whole test: as keys under which a call counts once, Bob uses hers and these alike.
    unknown = {kind: unknown_like(found) for kind, found in ids.items()}

    for asked in operations_of(dialect):
        for kind in KINDS:
            hers = await ask(client, BOB, asked, ids[kind])
            nobodys = await ask(client, BOB, asked, unknown[kind])

            assert CANARY not in hers.text, (asked, kind)
            assert told(hers, ids[kind]) == told(nobodys, unknown[kind]), (asked, kind)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (("GET", "/api/v3/predictions/{id}", None), "task"),
        (("GET", "/fal/queue/fal-ai/uso/requests/{id}", None), "request"),
        (("POST", "/v1", MORE_OF_RUNWARE[0]), "named"),
        (("POST", "/v1", MORE_OF_RUNWARE[1]), "named"),
    ],
)
async def test_alice_gets_at_hers(client: httpx.AsyncClient, ids: dict[str, str], asked: Asked, kind: str) -> None:
    """The same calls with her key lead to her picture, which holds what Bob never sees."""
    answer = await ask(client, ALICE, asked, ids[kind])

    [link] = set(re.findall(r"http://us/files/[\w.-]+", answer.text))
    assert CANARY in (await client.get(link)).text


async def test_alices_are_left_as_they_were(client: httpx.AsyncClient, ids: dict[str, str]) -> None:
    """After all that Bob could ask, deletes and cancels too, everything of hers is still there for her."""
    for dialect in DIALECTS:
        for asked in operations_of(dialect):
            for kind in KINDS:
                await ask(client, BOB, asked, ids[kind])

    task = await ask(client, ALICE, ("GET", "/api/v3/predictions/{id}", None), ids["task"])
    kept = await client.get(f"/files/{ids['link']}")
    dropped = await ask(client, ALICE, ("POST", "/v1", MORE_OF_RUNWARE[2]), ids["kept"])

    assert task.json()["data"]["status"] == "completed"
    assert kept.status_code == 200
    assert dropped.json()["data"][0]["mediaUUID"] == ids["kept"]


async def test_a_grant_is_for_one_file(client: httpx.AsyncClient, ids: dict[str, str]) -> None:
    """Bob's upload address takes no picture in the place of hers."""
    bearer = {"Authorization": f"Bearer {BOB}"}
    wish = {"filename": "a.png", "content_type": "image/png", "size": 9}
    granted = await client.post("/api/v3/media/uploads", json=wish, headers=bearer)
    assert granted.status_code == 200, granted.text
    address = granted.json()["data"]["upload"]["url"].rpartition("/")[0]

    answer = await client.put(f"{address}/{ids['link']}", content=PICTURE.content)

    assert answer.status_code == 400
    assert CANARY not in (await client.get(f"/files/{ids['link']}")).text
    assert json.loads(answer.text)["detail"].startswith("This upload address")
