"""The operator's commands for webhooks on a real SQLite file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deployments.cli import app
from deployments.database.database import Database, open_database
from deployments.tasks.outbox import Outbox, Room
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task, Webhook
from deployments.tasks.webhook import WebhookState
from deployments.tenants.directory import TenantDirectory
from models.request import GenerationRequest

Uxo = Callable[..., Result]
Work = Callable[[Database], Awaitable[Any]]

CLEAN: dict[str, str | None] = {"UXO_BOOTSTRAP_KEYS": None, "UXO_PUBLIC_URL": None, "UXO_WEIGHTS": None}
ROOM = Room(total=64, per_host=64, per_tenant=64)


@pytest.fixture
def uxo(tmp_path: Path, sqlite_url: str) -> Uxo:
    """Return a caller of the command, with a database of its own."""

    def call(*words: str) -> Result:
        settings = {"UXO_FOLDER": str(tmp_path / "var"), "UXO_DATABASE_URL": sqlite_url}
        return CliRunner().invoke(app, ["webhooks", *words], env=CLEAN | settings)

    return call


@pytest.fixture
def read(uxo: Uxo) -> Callable[..., Any]:
    """Return a caller of the command that reads its JSON."""

    def call(*words: str) -> Any:
        answer = uxo(*words, "--json")
        assert answer.exit_code == 0, answer.output
        return json.loads(answer.stdout)

    return call


@pytest.fixture
def in_database(sqlite_url: str) -> Callable[[Work], Any]:
    """Return a function that does something with the database behind the command."""

    async def opened(work: Work) -> Any:
        database = await open_database(sqlite_url)
        try:
            return await work(database)
        finally:
            await database.close()

    return lambda work: asyncio.run(opened(work))


@pytest.fixture
def ended(
    in_database: Callable[[Work], Any],
    make_task: Callable[..., Task],
    make_request: Callable[..., GenerationRequest],
) -> Sequence[Task]:
    """Return ended tasks: Alice's was given up by a host whose address would paint the terminal red, Bob's waits."""

    async def work(database: Database) -> list[Task]:
        store, outbox, made = TaskStore(database), Outbox(database), []
        for tenant_id, host in (("alice", "\x1bred.example"), ("bob", "b.example")):
            await TenantDirectory(database).ensure(tenant_id)
            webhook = Webhook(url=f"https://{host}/path-secret?query-secret", base_url="http://us")
            made.append(await store.accept(make_task(tenant_id=tenant_id, webhook=webhook), make_request()))
            await store.cancel(made[-1].id, tenant_id=tenant_id)
        for due in await outbox.claim_due(ROOM, lease_s=90):
            if due.tenant_id == "alice":
                await outbox.end(due, WebhookState.DEAD, answer="410")
        return made

    made: list[Task] = in_database(work)
    return made


def test_there_are_none(uxo: Uxo, read: Callable[..., Any]) -> None:
    """An empty outbox is said to be one."""
    answer = uxo("list")

    assert (answer.exit_code, answer.stdout) == (0, "there are no such webhooks\n")
    assert read("list") == []


def test_a_list_shows_what_became_of_each(uxo: Uxo, read: Callable[..., Any], ended: Sequence[Task]) -> None:
    """The newest comes first, with its answer or when it is due; no path and no query is shown."""
    answer = uxo("list")
    heading, newest, oldest = answer.stdout.splitlines()
    bobs, alices = read("list")

    assert heading.split() == ["webhook", "tenant", "task", "to", "state", "tries", "last", "answer", "due"]
    assert newest.split()[1:] == ["bob", ended[1].id, "b.example:443", "waiting", "1", "-", "89", "s"]
    assert oldest.split()[1:] == ["alice", ended[0].id, r"\x1bred.example:443", "dead", "1", "410", "-"]
    assert "secret" not in answer.output
    assert (bobs["state"], bobs["last_answer"], bobs["due_at"] is None) == ("waiting", None, False)
    assert (alices["state"], alices["last_answer"], alices["due_at"]) == ("dead", "410", None)


def test_a_list_is_narrowed(read: Callable[..., Any], ended: Sequence[Task]) -> None:
    """By tenant, state, task and number."""
    for narrowed in (("--tenant", "alice"), ("--state", "dead"), ("--task", ended[0].id)):
        assert [line["task"] for line in read("list", *narrowed)] == [ended[0].id]
    assert len(read("list", "--limit", "1")) == 1


@pytest.mark.usefixtures("ended")
def test_a_replay_by_id(uxo: Uxo, read: Callable[..., Any]) -> None:
    """A dead webhook waits again, due now and with all its tries; an id that is none is named, and is an error."""
    [dead] = read("list", "--state", "dead")

    answer = uxo("replay", dead["webhook"], "no-such")

    assert answer.exit_code == 1
    assert answer.stdout == "1 webhook will be sent again\n"
    assert answer.stderr == "there is no webhook no-such\n"
    [line] = read("list", "--tenant", "alice")
    assert (line["state"], line["tries"]) == ("waiting", 0)
    assert " now" in uxo("list", "--tenant", "alice").stdout


@pytest.mark.usefixtures("ended")
def test_a_replay_of_many(uxo: Uxo, read: Callable[..., Any]) -> None:
    """All of a state are replayed, of one tenant where one is named."""
    assert uxo("replay", "--state", "dead", "--tenant", "bob").stdout == "0 webhooks will be sent again\n"
    assert read("replay", "--state", "dead", "--tenant", "alice") == {"replayed": 1, "unknown": []}
    assert read("list", "--state", "dead") == []


@pytest.mark.parametrize("words", [[], ["--tenant", "alice"], ["id", "--state", "dead"], ["id", "--tenant", "alice"]])
def test_a_replay_of_nothing_in_particular(uxo: Uxo, words: list[str]) -> None:
    """Either webhooks are named, or a state is; a tenant only narrows a state."""
    answer = uxo("replay", *words)

    assert answer.exit_code == 2
    assert "name webhooks, or say --state" in answer.stderr
