"""The operator's commands on a real SQLite file: tenants, keys, tasks and the queue."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typer.testing import CliRunner, Result

from deployments.cli import app
from deployments.errors import FaultKind
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Fault, Success, Task
from deployments.tasks.waterfall import Part
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.keys import digest, is_own_key
from models.request import GenerationRequest

Found = TypeVar("Found")
Uxo = Callable[..., Result]
MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]

SECRET = "a secret of thirty-two characters"
CLEAN = {"UXO_BOOTSTRAP_KEYS": None, "UXO_PUBLIC_URL": None, "UXO_WEIGHTS": None, "UXO_SECRET": SECRET}


@pytest.fixture
def uxo(tmp_path: Path, sqlite_url: str) -> Uxo:
    """Return a caller of the command, with a database of its own."""

    def call(*words: str, **variables: str) -> Result:
        settings = {"UXO_FOLDER": str(tmp_path / "var"), "UXO_DATABASE_URL": sqlite_url}
        return CliRunner().invoke(app, words, env=CLEAN | settings | variables)

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
def in_store(sqlite_url: str, uxo: Uxo) -> Callable[[Callable[[TaskStore], Awaitable[Found]]], Found]:
    """Return a function that does something with the store behind the command, which has a tenant Alice."""
    uxo("tenants", "create", "alice")

    async def opened(work: Callable[[TaskStore], Awaitable[Found]]) -> Found:
        store = await TaskStore.open(sqlite_url)
        try:
            return await work(store)
        finally:
            await store.close()

    return lambda work: asyncio.run(opened(work))


@pytest.fixture
def quarantined(in_store: Callable[..., Task], make_task: MakeTask, make_request: MakeRequest) -> Task:
    """Return a task that was given up; its prompt would paint the terminal red."""

    async def work(store: TaskStore) -> Task:
        task = await store.accept(make_task(price=50_000), make_request(prompt="\x1b[31m[bold]"))
        await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=-1)
        await store.rescue(max_attempts=1)
        return task

    return in_store(work)


def is_refused(answer: Result, message: str) -> bool:
    """Whether a command said one line of what went wrong, and nothing else."""
    lines = answer.stderr.splitlines()
    return answer.exit_code == 1 and answer.stdout == "" and len(lines) == 1 and message in lines[0]


def test_a_tenant_is_made_as_told(uxo: Uxo, read: Callable[..., Any]) -> None:
    """Every limit that is given is there, in the operator's units; the others are as usual."""
    words = ["--weight", "2.5", "--model", "uno", "--max-running", "4", "--budget", "12.5", "--max-queued-units", "9.5"]
    words += ["--lifetime", "1h", "--max-kept", "500mb"]

    made = uxo("tenants", "create", "acme", *words)

    assert made.exit_code == 0
    assert read("tenants", "list") == [
        {
            "tenant": "acme",
            "weight": 2.5,
            "models": ["uno"],
            "max_queued": 1000,
            "max_queued_units": 9.5,
            "max_running": 4,
            "requests_per_minute": None,
            "openings": None,
            "max_kept_bytes": 500_000_000,
            "lifetime_s": 3600,
            "budget_usd": 12.5,
            "spent_usd": 0,
            "held_usd": 0,
            "left_usd": 12.5,
        }
    ]


def test_names_and_ranges_are_opened_and_closed(uxo: Uxo, read: Callable[..., Any]) -> None:
    """What is said replaces what was open, all of it can be closed, and what is neither is one clear line."""
    uxo("tenants", "create", "acme", "--open", "img.corp.example", "--open", "10.20.0.0/16")

    changed = [read("tenants", "set", "acme", *words)["openings"] for words in (["--open", "fd12::/16"], ["--no-open"])]
    refused = uxo("tenants", "set", "acme", "--open", "http://img.corp.example/")

    assert changed == [["fd12::/16"], None]
    assert is_refused(refused, "'http://img.corp.example/' is neither a host name nor a range of addresses")


def test_only_what_is_said_changes(uxo: Uxo, read: Callable[..., Any]) -> None:
    """A changed tenant keeps what was not mentioned, gets what was given and loses the limits that were lifted."""
    uxo("tenants", "create", "acme", "--model", "uno", "--max-running", "4", "--budget", "12.5")

    changed = read("tenants", "set", "acme", "--any-model", "--no-budget", "--requests-per-minute", "60")

    assert (changed["models"], changed["budget_usd"], changed["requests_per_minute"]) == (None, None, 60)
    assert (changed["max_running"], changed["max_queued"]) == (4, 1000)
    assert read("tenants", "list") == [changed]


def test_a_budget_of_nothing_is_a_budget(read: Callable[..., Any]) -> None:
    """Zero is a limit like any other, and not the lack of one."""
    made = read("tenants", "create", "acme", "--budget", "0", "--max-queued", "0")

    assert (made["budget_usd"], made["max_queued"]) == (0, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tenants", "create", "acme"], "there is a tenant acme already"),
        (["tenants", "create", "no/name"], "a tenant's name is"),
        (["tenants", "create", "new", "--weight", "0"], "weight must be between"),
        (["tenants", "set", "nobody", "--weight", "2"], "there is no tenant nobody"),
        (["tenants", "delete", "nobody"], "there is no tenant nobody"),
        (["keys", "create", "nobody"], "there is no tenant nobody"),
        (["keys", "list", "nobody"], "there is no tenant nobody"),
        (["keys", "rotate", "nobody"], "there is no tenant nobody"),
        (["keys", "revoke", "0badc0de"], "There is no key of that id"),
        (["tasks", "show", "f" * 32], "there is no task"),
        (["tasks", "cancel", "f" * 32], "there is no task"),
        (["tasks", "replay", "f" * 32], "there is no task"),
        (["tasks", "purge", "--older-than", "1d", "--state", "queued"], "a queued task has not ended"),
    ],
)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_what_goes_wrong_is_one_line(uxo: Uxo, words: list[str], message: str, as_json: list[str]) -> None:
    """A command that cannot do it says why in one line, apart from its results, and fails."""
    uxo("tenants", "create", "acme")

    answer = uxo(*words, *as_json)

    assert is_refused(answer, message), answer.output


@pytest.mark.parametrize(
    "words",
    [
        ["tenants", "set", "acme"],
        ["tenants", "set", "acme", "--budget", "1", "--no-budget"],
        ["tenants", "set", "acme", "--budget", "much"],
        ["tenants", "set", "acme", "--model", "dall-e"],
        ["tenants", "set", "acme", "--max-queued", str(2**31)],
        ["tasks", "replay"],
        ["tasks", "replay", "f" * 32, "--quarantined"],
        ["tasks", "replay", "f" * 32, "--tenant", "acme"],
        ["tasks", "purge"],
        ["tasks", "purge", "--older-than", "7"],
        ["tasks", "list", "--state", "lost"],
        ["tasks", "show", "\n"],
    ],
)
def test_a_call_that_makes_no_sense_changes_nothing(uxo: Uxo, read: Callable[..., Any], words: list[str]) -> None:
    """Words that contradict one another, or are missing, are refused with a hint how to say it."""
    uxo("tenants", "create", "acme")
    before = read("tenants", "list")

    answer = uxo(*words)

    assert answer.exit_code == 2
    assert "Traceback" not in answer.output
    assert read("tenants", "list") == before


def test_a_deleted_tenant_takes_its_keys_along(uxo: Uxo, read: Callable[..., Any]) -> None:
    """What went is told."""
    uxo("tenants", "create", "acme")
    uxo("keys", "create", "acme")

    assert read("tenants", "delete", "acme") == {"tenant": "acme", "keys_deleted": 1}
    assert read("tenants", "list") == []


def test_a_new_key_is_shown_once(uxo: Uxo, sqlite_url: str) -> None:
    """A key stands alone on the standard output; from then on only its digest is known, and that finds its tenant."""
    uxo("tenants", "create", "acme")

    answer = uxo("keys", "create", "acme")

    key = answer.stdout.strip()
    assert is_own_key(key)
    assert "Shown this once" in answer.stderr
    assert key not in uxo("keys", "list", "acme", "--json").output
    assert owner_of(key, sqlite_url) == "acme"


def owner_of(key: str, url: str) -> str | None:
    """Ask the directory whose key this is, as every process does."""

    async def ask() -> str | None:
        store = await TaskStore.open(url)
        try:
            return await TenantDirectory(store._database).tenant_with(digest(key, secret=SECRET))
        finally:
            await store.close()

    return asyncio.run(ask())


def test_a_rotation_keeps_one_older_key(uxo: Uxo, read: Callable[..., Any], sqlite_url: str) -> None:
    """After a rotation the new key and the newest before it are good; the oldest is not."""
    uxo("tenants", "create", "acme")
    first, second = (read("keys", "create", "acme") for _ in range(2))

    third = read("keys", "rotate", "acme")

    assert (third["good"], third["revoked"]) == ([second["key_id"]], [first["key_id"]])
    assert [owner_of(one["key"], sqlite_url) for one in (first, second, third)] == [None, "acme", "acme"]
    assert [one["is_good"] for one in read("keys", "list", "acme")] == [False, True, True]


def test_a_third_key_is_refused(uxo: Uxo) -> None:
    """Two good keys are enough to change over."""
    uxo("tenants", "create", "acme")
    for _ in range(2):
        uxo("keys", "create", "acme")

    assert is_refused(uxo("keys", "create", "acme"), "two good keys")


def test_a_revoked_key_is_good_no_more(uxo: Uxo, read: Callable[..., Any], sqlite_url: str) -> None:
    """A key is revoked by its id, once."""
    uxo("tenants", "create", "acme")
    made = read("keys", "create", "acme")

    assert "within 3 s" in uxo("keys", "revoke", made["key_id"]).stdout

    assert owner_of(made["key"], sqlite_url) is None
    assert is_refused(uxo("keys", "revoke", made["key_id"]), "revoked before")


def test_tables_are_for_people(uxo: Uxo) -> None:
    """Money is in dollars, no limit is a dash, and nothing is cut."""
    name = "a-tenant-with-a-long-name-of-exactly-sixty-four-characters-12345"
    uxo("tenants", "create", name, "--budget", "12.5")

    answer = uxo("tenants", "list")

    heading, row = answer.stdout.splitlines()
    assert heading.split()[:3] == ["tenant", "weight", "models"]
    assert row.split() == [
        name,
        "1",
        "all",
        "1000",
        "-",
        "-",
        "-",
        "2",
        "GB",
        "-",
        "$12.50",
        "$0.00",
        "$0.00",
        "$12.50",
    ]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["tenants", "list"], "there are no tenants yet\n"),
        (["tasks", "list"], "there are no such tasks\n"),
        (["queue"], "nothing waits and nothing runs\n"),
    ],
)
def test_nothing_is_said_in_words(uxo: Uxo, words: list[str], answer: str) -> None:
    """An empty table is a sentence, and an empty JSON list stays one."""
    assert uxo(*words).stdout == answer


@pytest.mark.usefixtures("quarantined")
def test_tasks_are_listed(uxo: Uxo, read: Callable[..., Any]) -> None:
    """A quarantined task is listed as such."""
    [line] = read("tasks", "list", "--tenant", "alice", "--state", "failed", "--model", "uno")

    assert (line["tenant"], line["fault"], line["price_usd"]) == ("alice", "quarantined", 0.05)
    assert "quarantined" in uxo("tasks", "list").stdout
    assert read("tasks", "list", "--state", "running") == []


def test_a_task_is_shown(uxo: Uxo, read: Callable[..., Any], quarantined: Task) -> None:
    """A task's page has reason, price and prompt, and the prompt cannot act on the terminal."""
    page = uxo("tasks", "show", quarantined.id).stdout

    assert "quarantined: " in page
    assert "$0.05" in page
    assert r"\x1b[31m[bold]" in page
    assert "\x1b[31m" not in page
    assert read("tasks", "show", quarantined.id)["request"]["prompt"] == "\x1b[31m[bold]"


def test_a_task_is_cancelled_once(
    uxo: Uxo,
    read: Callable[..., Any],
    in_store: Callable[..., Any],
    make_task: MakeTask,
    make_request: MakeRequest,
) -> None:
    """The first cancel ends it, the second says that it has ended."""
    task = in_store(lambda store: store.accept(make_task(), make_request()))

    assert read("tasks", "cancel", task.id) == {"task": task.id, "cancelled": True}
    assert uxo("tasks", "cancel", task.id).stdout == f"{task.id} has ended already\n"


def test_a_quarantined_task_is_replayed(uxo: Uxo, read: Callable[..., Any], quarantined: Task) -> None:
    """One by its id, and then none is left for a replay of all."""
    replayed = read("tasks", "replay", quarantined.id)

    assert replayed["replay_of"] == quarantined.id
    assert read("tasks", "show", quarantined.id)["replays"] == [replayed["task"]]
    assert uxo("tasks", "replay", "--quarantined").stdout == "0 tasks replayed, 0 refused\n"


@pytest.mark.usefixtures("quarantined")
def test_refused_replays_are_counted_by_reason(uxo: Uxo, read: Callable[..., Any]) -> None:
    """A tenant that may have nothing waiting gets no replay, and the operator hears why."""
    uxo("tenants", "set", "alice", "--budget", "0")

    answer = uxo("tasks", "replay", "--quarantined")

    assert answer.stdout == "0 tasks replayed, 1 refused\n"
    assert "budget" in answer.stderr
    assert list(read("tasks", "replay", "--quarantined")["refused"].values()) == [1]


def test_ended_tasks_are_purged(uxo: Uxo, read: Callable[..., Any], quarantined: Task) -> None:
    """What is not old enough stays, what is goes."""
    assert uxo("tasks", "purge", "--older-than", "1h").stdout == "deleted 0 tasks\n"
    assert read("tasks", "purge", "--older-than", "0s", "--tenant", quarantined.tenant_id) == {"deleted": 1}


def test_the_queue_is_shown(
    uxo: Uxo,
    read: Callable[..., Any],
    in_store: Callable[..., Any],
    make_task: MakeTask,
    make_request: MakeRequest,
) -> None:
    """What waits and runs is told by model and tenant, and in all."""

    async def fill(store: TaskStore) -> None:
        for _ in range(3):
            await store.accept(make_task(work_units=2.5), make_request())
        [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
        fault = Fault(kind=FaultKind.ENGINE_FAILED, message="no")
        await store.fail(claim.task.id, fence=claim.task.fence, fault=fault)
        await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    in_store(fill)

    depth = read("queue")

    [queue] = depth["queues"]
    assert (queue["model"], queue["tenant"], queue["queued"], queue["running"]) == ("uno", "alice", 1, 1)
    assert (depth["total"]["queued"], depth["total"]["queued_units"]) == (1, 2.5)
    assert [line.split()[0] for line in uxo("queue").stdout.splitlines()] == ["model", "uno", "total"]


def test_a_finished_task_shows_its_charge_and_its_time(
    uxo: Uxo, in_store: Callable[..., Any], make_task: MakeTask, make_request: MakeRequest
) -> None:
    """What was charged and where the time went stands on the page of a task that has ended well."""

    async def work(store: TaskStore) -> Task:
        task = await store.accept(make_task(price=39_323), make_request())
        [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
        spent = {Part.FETCHING: 0.0, Part.DELIVERING: 60.0}
        success = Success(outputs=(), inference_ms=5, spent=spent)
        await store.succeed(task.id, fence=claim.task.fence, success=success)
        return task

    task_id = in_store(work).id
    page, fields = uxo("tasks", "show", task_id).stdout, json.loads(uxo("tasks", "show", task_id, "--json").stdout)

    bars = [line.split()[0] for line in page.splitlines() if "█" in line]
    assert bars == list(fields["seconds"]) == ["queued", "fetching", "delivering"]
    assert [line.split() for line in page.splitlines() if line.startswith("charged")] == [["charged", "$0.039323"]]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql+asyncpg://uxo:pass-word@127.0.0.1:1/uxo", "cannot reach the database ("),
        ("postgresql+asyncpg://uxo:pass-word@127.0.0.1:pass-word/uxo", "UXO_DATABASE_URL cannot be used"),
        ("sqlite:////proc/nowhere/uxo.db", "cannot reach the database ("),
        ("sqlite:///:memory:", "UXO_DATABASE_URL cannot be used"),
        ("mysql://here", "UXO_DATABASE_URL cannot be used"),
    ],
)
@pytest.mark.parametrize("words", [["queue"], ["tenants", "list"], ["migrate"], ["run"]])
def test_a_database_that_is_not_there_is_one_line(uxo: Uxo, words: list[str], url: str, message: str) -> None:
    """Every command names the trouble with the database and repeats no password."""
    answer = uxo(*words, UXO_DATABASE_URL=url)

    assert answer.exit_code == 1
    assert message in answer.output
    assert "pass-word" not in answer.output
    assert "Traceback" not in answer.output


def test_a_key_for_a_server_needs_the_common_secret(uxo: Uxo, tmp_path: Path) -> None:
    """Without UXO_SECRET a key may be good on this machine alone, and whoever makes one for a server is told."""
    away = "postgresql+asyncpg://uxo@127.0.0.1:1/uxo"

    assert "UXO_SECRET is not set" in uxo("keys", "create", "acme", UXO_SECRET="", UXO_DATABASE_URL=away).stderr
    assert "UXO_SECRET is not set" not in uxo("keys", "create", "acme", UXO_SECRET="").stderr
    assert (tmp_path / "var" / "secret").exists()


def test_help_loads_nothing_that_is_slow() -> None:
    """Asking what there is needs neither Ray nor torch, no database, no migrations and no bucket."""
    program = (
        "import sys, deployments.cli, typer.main; typer.main.get_command(deployments.cli.app);"
        "slow = {'ray', 'torch', 'alembic', 'sqlalchemy', 'asyncpg', 'boto3', 'botocore', 'tenacity'};"
        "print(sorted(slow & set(sys.modules)))"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout == "[]\n"
