"""``uxo tasks redeliver`` on a real SQLite file and a real receiver."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from receiver import receiving, status
from typer.testing import CliRunner, Result

from deployments.cli import app
from deployments.delivery.files import FilesSink
from deployments.delivery.sink import EncodedImage
from deployments.errors import FaultKind
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Fault, Output, Task
from deployments.tenants.directory import TenantDirectory
from models.request import GenerationRequest

JPEG = EncodedImage(content=b"\xff\xd8\xff jpeg", content_type="image/jpeg", extension="jpg")
CLEAN: dict[str, str | None] = {"UXO_BOOTSTRAP_KEYS": None, "UXO_PUBLIC_URL": None, "UXO_WEIGHTS": None}

Uxo = Callable[..., Awaitable[Result]]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def uxo(tmp_path: Path, sqlite_url: str) -> Uxo:
    """Return a caller of the command, which has an event loop of its own."""
    settings = {
        "UXO_FOLDER": str(tmp_path / "var"),
        "UXO_DATABASE_URL": sqlite_url,
        "UXO_ALLOW_PRIVATE_NETWORKS": "true",
    }

    async def call(*words: str, command: str = "redeliver") -> Result:
        return await asyncio.to_thread(
            lambda: CliRunner().invoke(app, ["tasks", command, *words], env=CLEAN | settings)
        )

    return call


@pytest.fixture
async def undelivered(
    tmp_path: Path,
    store: TaskStore,
    directory: TenantDirectory,  # noqa: ARG001 -- it makes the tenant
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
) -> Task:
    """Return a task whose picture is kept and was not delivered."""
    value = await FilesSink(tmp_path / "var" / "outputs", ttl_s=60).put("task-1-0", JPEG)
    output = Output(sink="files", value=value, content_type="image/jpeg", size_bytes=9, sha256="00", seed=7)
    await store.accept(make_task(), make_request())
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    fault = Fault(kind=FaultKind.UPLOAD_FAILED, message="the upload address answered 403")
    assert await store.fail(claim.task.id, fence=claim.task.fence, fault=fault, outputs=(output,))
    return claim.task


@pytest.mark.parametrize("as_json", [False, True])
async def test_an_operator_sends_the_pictures(undelivered: Task, uxo: Uxo, *, as_json: bool) -> None:
    """The picture arrives at the fresh address, and the command says how many there were."""
    async with receiving() as receiver:
        answer = await uxo(undelivered.id, receiver.url("/a?b=c"), *(["--json"] if as_json else []))

        assert [(call.target, call.body) for call in receiver.arrived] == [("/a?b=c", JPEG.content)]
    assert answer.exit_code == 0
    told: Any = json.loads(answer.stdout) if as_json else answer.stdout
    expected: Any = {"task": undelivered.id, "sent": 1} if as_json else f"sent 1 picture of {undelivered.id}\n"
    assert told == expected


async def test_the_receipts_are_shown(undelivered: Task, uxo: Uxo) -> None:
    """Before there is one nothing is said of any; then a page has a line for each, and JSON all that was answered."""
    before = [await uxo(undelivered.id, *more, command="show") for more in ([], ["--json"])]
    async with receiving() as receiver:
        receiver.says("/a", status(200, 'ETag: "abc"'))
        await uxo(undelivered.id, receiver.url("/a"))

    page, told = [await uxo(undelivered.id, *more, command="show") for more in ([], ["--json"])]

    assert not any("receipt" in answer.stdout for answer in before)
    [line] = [line for line in page.stdout.splitlines() if line.startswith("receipt")]
    assert 'picture 1: 200, ETag "abc", ' in line
    [picture] = json.loads(told.stdout)["pictures"]
    assert (picture["receipt"]["status"], picture["receipt"]["etag"]) == (200, '"abc"')


async def test_a_refusal_is_one_line(undelivered: Task, uxo: Uxo) -> None:
    """What the address answered is told, the address is not, and the exit code says that it went wrong."""
    async with receiving() as receiver:
        receiver.says("/?secret", status(403))
        answer = await uxo(undelivered.id, receiver.url("/?secret"))

    assert (answer.exit_code, answer.stderr) == (1, "the upload address answered 403\n")


async def test_what_is_no_address_is_not_repeated(undelivered: Task, uxo: Uxo) -> None:
    """A wrong argument is refused before anything is opened, without showing what may be a permission."""
    answer = await uxo(undelivered.id, "ftp://pictures.example/?secret")

    assert answer.exit_code == 2
    assert "secret" not in answer.output


async def test_a_task_that_is_not_there(uxo: Uxo, store: TaskStore) -> None:
    """An unknown id is said to be unknown."""
    await store.ping()

    answer = await uxo("0" * 32, "https://pictures.example/")

    assert answer.exit_code == 1
    assert "no task" in answer.stderr
