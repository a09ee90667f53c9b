"""The outbox, the same on every database: what goes in with the end of a task, and who may take it out."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, insert, select, text, update
from structlog.testing import capture_logs

from deployments.database.database import Database
from deployments.database.schema import tasks, webhooks
from deployments.errors import FaultKind
from deployments.outbound.urls import UnreadableUrl, read_url
from deployments.tasks import outbox_statements as statements
from deployments.tasks.census import take_census
from deployments.tasks.outbox import MAX_HOST, Outbox, Room
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Fault, Success, Task, Webhook
from deployments.tasks.webhook import Burden, WebhookState
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
EndOne = Callable[..., Awaitable[Task]]

# Of digits that no database can shorten, and so too long for an index of PostgreSQL.
LONG_HOST = hashlib.shake_256(b"host").hexdigest(2500)
ROOM = Room(total=64, per_host=64, per_tenant=64)
LEASE_S = 60.0


def tell(host: str = "a.example", *, pictures: int = 0) -> Webhook:
    """Return a wish to be told."""
    return Webhook(url=f"https://{host}/hook?key=a%2Fb", base_url="http://us", pictures=pictures)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """Return the outbox of the store's database."""
    return Outbox(database)


@pytest.fixture
def end_one(store: TaskStore, make_task: MakeTask, make_request: MakeRequest) -> EndOne:
    """Return what accepts, claims and ends one task well; give it the fields that matter."""

    async def end(**fields: Any) -> Task:
        task = await store.accept(make_task(**({"webhook": tell()} | fields)), make_request(), body='{"a": 1}')
        [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
        assert await store.succeed(task.id, fence=claim.task.fence, success=Success(outputs=(), inference_ms=5))
        return task

    return end


async def make_due(database: Database) -> None:
    """Let the pauses and leases of all webhooks end."""
    await database.write(lambda connection: connection.execute(update(webhooks).values(due_at=0.0)))


async def rows_of(database: Database) -> list[Any]:
    """Read the whole outbox in the order in which it was filled."""
    return list(await database.rows(select(webhooks).order_by(webhooks.c.created_at, webhooks.c.picture)))


async def test_a_good_end_is_told(database: Database, end_one: EndOne) -> None:
    """The end of a task puts one webhook into the outbox, due at that moment."""
    task = await end_one()

    [row] = await rows_of(database)
    [ended] = await database.rows(select(tasks.c.finished_at))
    assert UUID(row.id).version == 4
    assert (row.tenant_id, row.task_id, row.url) == ("alice", task.id, "https://a.example/hook?key=a%2Fb")
    assert (row.host, row.base_url, row.picture) == ("a.example:443", "http://us", None)
    assert (row.state, row.attempts, row.body) == ("waiting", 0, None)
    assert row.due_at == row.created_at == ended.finished_at


async def test_each_picture_is_told(database: Database, end_one: EndOne) -> None:
    """Where pictures are told one by one, each has a webhook with an id of its own."""
    await end_one(webhook=tell(pictures=3))

    rows = await rows_of(database)
    assert [row.picture for row in rows] == [0, 1, 2]
    assert len({row.id for row in rows}) == 3


async def test_nobody_asked_to_be_told(database: Database, end_one: EndOne) -> None:
    """A task without a webhook leaves the outbox empty."""
    await end_one(webhook=None)

    assert await rows_of(database) == []


@pytest.mark.parametrize("way", ["fail", "cancel", "quarantine"])
async def test_every_bad_end_is_told_once(
    database: Database, store: TaskStore, make_task: MakeTask, make_request: MakeRequest, way: str
) -> None:
    """However a task ends badly, it is told as a whole, also where its pictures would have been told one by one."""
    task = await store.accept(make_task(webhook=tell(pictures=3)), make_request())
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=-1 if way == "quarantine" else 60)
    ends: dict[str, Callable[[], Awaitable[object]]] = {
        "fail": lambda: store.fail(
            task.id, fence=claim.task.fence, fault=Fault(kind=FaultKind.ENGINE_FAILED, message="no")
        ),
        "cancel": lambda: store.cancel(task.id, tenant_id="alice"),
        "quarantine": lambda: store.rescue(max_attempts=1),
    }

    await ends[way]()
    await ends[way]()

    [row] = await rows_of(database)
    assert (row.task_id, row.picture) == (task.id, None)


async def test_a_stale_end_tells_nothing(
    database: Database, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A replica whose claim is lost ends nothing, so nobody hears of it."""
    task = await store.accept(make_task(webhook=tell()), make_request())
    await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)

    ended = await store.succeed(task.id, fence=99, success=Success(outputs=(), inference_ms=5))

    assert not ended
    assert await rows_of(database) == []


@pytest.mark.parametrize("url", ["http://[", "http://a/\0", "http://\0a/", "http://a/\ud800", f"http://{LONG_HOST}/"])
async def test_an_address_that_cannot_be_called_ends_no_less(database: Database, end_one: EndOne, url: str) -> None:
    """A task ends although its webhook's address is none; what is written of it no reader takes for another address."""
    await end_one(webhook=Webhook(url=url, base_url="http://us"))

    [row] = await rows_of(database)
    assert len(row.host) <= MAX_HOST
    with pytest.raises(UnreadableUrl):
        read_url(row.url)


async def test_a_webhook_that_cannot_be_written_is_dropped(database: Database, end_one: EndOne) -> None:
    """Its task ends, the log names the task and nothing of the webhook, and the next one's is written."""
    with capture_logs() as logs:
        poor = await end_one(webhook=Webhook(url="http://a/", base_url="http://\ud800"))
    good = await end_one()

    assert [row.task_id for row in await rows_of(database)] == [good.id]
    assert logs == [{"event": "webhook_not_written", "log_level": "error", "task_id": poor.id}]


async def test_what_is_claimed_is_taken(outbox: Outbox, end_one: EndOne) -> None:
    """A webhook is handed out once, with its try counted; it is due again when the lease ends, not before."""
    task = await end_one()

    [due] = await outbox.claim_due(ROOM, lease_s=LEASE_S)

    assert (due.task_id, due.attempt, await outbox.read_body(due)) == (task.id, 1, None)
    assert await outbox.claim_due(ROOM, lease_s=LEASE_S) == []
    due_in_s = await outbox.next_due(ROOM)
    assert due_in_s is not None
    assert 0 < due_in_s <= LEASE_S


async def test_a_lost_claim_is_made_again(outbox: Outbox, end_one: EndOne) -> None:
    """What a sender took and never reported is taken by the next one when its lease is over."""
    await end_one()
    [lost] = await outbox.claim_due(ROOM, lease_s=-1)

    [again] = await outbox.claim_due(ROOM, lease_s=LEASE_S)

    assert (again.id, again.attempt) == (lost.id, 2)
    assert not await outbox.end(lost, WebhookState.DELIVERED, answer="200")
    assert not await outbox.put_off(lost, pause_s=0, answer="500")
    assert await outbox.end(again, WebhookState.DELIVERED, answer="200")


async def test_two_senders_never_take_the_same(database: Database, end_one: EndOne) -> None:
    """Any number of senders at once hand out every webhook exactly once."""
    for _ in range(12):
        await end_one()
    room = Room(total=3, per_host=3, per_tenant=64)

    taken = await asyncio.gather(*(Outbox(database).claim_due(room, lease_s=LEASE_S) for _ in range(8)))
    rest = await Outbox(database).claim_due(ROOM, lease_s=LEASE_S)

    ids = [due.id for some in [*taken, rest] for due in some]
    assert len(ids) == len(set(ids)) == 12
    assert all(len(some) <= 3 for some in taken)


async def test_a_host_without_room_is_passed_over(outbox: Outbox, end_one: EndOne) -> None:
    """However many webhooks of a full host are due before it, another host's is taken."""
    for _ in range(5):
        await end_one(webhook=tell("dead.example"))
    healthy = await end_one(webhook=tell("healthy.example"))
    room = Room(total=3, per_host=4, per_tenant=64, hosts={"dead.example:443": 0})

    taken = await outbox.claim_due(room, lease_s=LEASE_S)

    assert [due.task_id for due in taken] == [healthy.id]
    assert (await outbox.next_due(room) or 0) > 0


async def test_each_host_is_taken_from_as_far_as_it_has_room(outbox: Outbox, end_one: EndOne) -> None:
    """A claim takes a few of each host, the longest due first, and no more than the whole has room for."""
    mine = [await end_one(webhook=tell("a.example")) for _ in range(4)]
    for host in ("b.example", "b.example", "c.example"):
        await end_one(webhook=tell(host))

    taken = await outbox.claim_due(Room(total=3, per_host=2, per_tenant=64), lease_s=LEASE_S)

    assert [due.host for due in taken] == ["a.example:443", "a.example:443", "b.example:443"]
    assert {due.task_id for due in taken[:2]} == {mine[0].id, mine[1].id}


async def test_a_tenant_without_room_is_passed_over(outbox: Outbox, end_one: EndOne) -> None:
    """A tenant that has many sends under way leaves the rest to others, also at the same host."""
    for number in range(3):
        await end_one(webhook=tell(f"{number}.example"))
    other = await end_one(webhook=tell("0.example"), tenant_id="bob")
    room = Room(total=64, per_host=4, per_tenant=64, tenants={"alice": 0})

    taken = await outbox.claim_due(room, lease_s=LEASE_S)

    assert [due.task_id for due in taken] == [other.id]
    assert (await outbox.next_due(room) or 0) > 0


async def test_a_claim_fills_a_tenants_room_and_no_more(outbox: Outbox, end_one: EndOne) -> None:
    """What one claim takes counts at once."""
    for number in range(4):
        await end_one(webhook=tell(f"{number}.example"))

    taken = await outbox.claim_due(Room(total=64, per_host=1, per_tenant=2), lease_s=LEASE_S)

    assert len(taken) == 2


async def test_what_is_put_off_waits(database: Database, outbox: Outbox, end_one: EndOne) -> None:
    """A failed try is due after its pause and not before, and its answer can be read."""
    await end_one()
    [due] = await outbox.claim_due(ROOM, lease_s=LEASE_S)

    assert await outbox.put_off(due, pause_s=3600, answer="500")

    due_in_s = await outbox.next_due(ROOM)
    assert due_in_s is not None
    assert 3500 < due_in_s <= 3600
    [line] = await outbox.list()
    assert (line.state, line.attempts, line.last_answer) == (WebhookState.WAITING, 1, "500")
    await make_due(database)
    [again] = await outbox.claim_due(ROOM, lease_s=LEASE_S)
    assert again.attempt == 2


@pytest.mark.parametrize("state", [WebhookState.DELIVERED, WebhookState.SILENT, WebhookState.DEAD])
async def test_what_is_done_with_is_never_due(
    database: Database, outbox: Outbox, end_one: EndOne, state: WebhookState
) -> None:
    """An ended webhook is not handed out again."""
    await end_one()
    [due] = await outbox.claim_due(ROOM, lease_s=LEASE_S)

    assert await outbox.end(due, state, answer="so")
    await make_due(database)

    assert await outbox.claim_due(ROOM, lease_s=LEASE_S) == []
    assert await outbox.next_due(ROOM) is None
    [row] = await rows_of(database)
    assert (row.state, row.last_answer) == (state, "so")
    assert row.ended_at is not None


async def test_what_is_sent_first_is_kept(database: Database, outbox: Outbox, end_one: EndOne) -> None:
    """The first body that is kept stays, and comes with every later claim."""
    await end_one()
    [due] = await outbox.claim_due(ROOM, lease_s=LEASE_S)

    assert await outbox.keep_body(due, "the first ☃") == "the first ☃"
    assert await outbox.keep_body(due, "another") == "the first ☃"

    await make_due(database)
    [again] = await outbox.claim_due(ROOM, lease_s=LEASE_S)
    assert await outbox.read_body(again) == "the first ☃"


async def test_what_is_told_of(database: Database, outbox: Outbox, end_one: EndOne) -> None:
    """A webhook's task is read with what its caller had sent; once it is deleted, it is told to nobody."""
    task = await end_one()

    told = await outbox.read_told(task.id)

    assert told is not None
    assert (told.task.id, json.loads(told.body or "")) == (task.id, {"a": 1})
    await database.write(lambda connection: connection.execute(update(tasks).values(deleted_at=1.0)))
    assert await outbox.read_told(task.id) is None


async def test_a_list_is_narrowed(outbox: Outbox, end_one: EndOne) -> None:
    """Webhooks are listed the newest first, of one tenant, state or task."""
    alices = await end_one()
    bobs = await end_one(tenant_id="bob", webhook=tell("dead.example"))
    taken = await outbox.claim_due(ROOM, lease_s=LEASE_S)
    await outbox.end(next(due for due in taken if due.task_id == bobs.id), WebhookState.DEAD, answer="410")

    everything = await outbox.list()
    by_tenant = await outbox.list(tenant_id="alice")
    by_state = await outbox.list(state=WebhookState.DEAD)
    by_task = await outbox.list(task_id=alices.id)

    assert [line.task_id for line in everything] == [bobs.id, alices.id]
    assert [line.task_id for line in by_tenant] == [alices.id]
    assert [(line.task_id, line.host, line.last_answer) for line in by_state] == [(bobs.id, "dead.example:443", "410")]
    assert [line.task_id for line in by_task] == [alices.id]
    assert len(await outbox.list(limit=1)) == 1


async def test_a_replay_begins_anew(outbox: Outbox, end_one: EndOne) -> None:
    """A replayed webhook is due at once under its old id, says what it said, and has all its tries again."""
    await end_one()
    [due] = await outbox.claim_due(ROOM, lease_s=LEASE_S)
    await outbox.keep_body(due, "said")
    await outbox.end(due, WebhookState.DEAD, answer="410")

    replayed = await outbox.replay([due.id, "unknown"])

    assert replayed == {due.id}
    [again] = await outbox.claim_due(ROOM, lease_s=LEASE_S)
    assert (again.id, again.attempt, await outbox.read_body(again)) == (due.id, 1, "said")


async def test_a_replayed_webhook_waits_from_then_on(outbox: Outbox, database: Database, end_one: EndOne) -> None:
    """However long ago its task ended, a replayed webhook has only begun to wait."""
    await end_one()
    [due] = await outbox.claim_due(ROOM, lease_s=LEASE_S)
    await database.write(lambda connection: connection.execute(update(webhooks).values(created_at=1.0)))
    before = await take_census(database)
    await outbox.end(due, WebhookState.DEAD, answer="410")

    await outbox.replay([due.id])

    after = await take_census(database)
    assert (before.webhooks, after.webhooks) == (1, 1)
    assert after.webhook_age_s < 1e6 < before.webhook_age_s


async def test_a_replay_of_many(outbox: Outbox, end_one: EndOne) -> None:
    """In bulk every webhook of a state is replayed, of one tenant where one is named."""
    for tenant_id in ("alice", "alice", "bob"):
        await end_one(tenant_id=tenant_id)
    for due in await outbox.claim_due(ROOM, lease_s=LEASE_S):
        await outbox.end(due, WebhookState.DEAD, answer="410")

    of_alice = await outbox.replay_all(WebhookState.DEAD, tenant_id="alice")
    of_all = await outbox.replay_all(WebhookState.DEAD)

    assert (of_alice, of_all) == (2, 1)
    assert len(await outbox.claim_due(ROOM, lease_s=LEASE_S)) == 3


async def test_webhooks_go_with_their_task(database: Database, store: TaskStore, end_one: EndOne) -> None:
    """When a task is forgotten, so is what was told of it."""
    await end_one()

    await store.forget(keep_s=-1)

    assert await rows_of(database) == []


async def test_nothing_looks_through_ended_webhooks(database: Database, end_one: EndOne) -> None:
    """With thousands of webhooks done with, what is due is found by an index of what waits."""
    task = await end_one()
    rows = [
        {
            "id": str(number),
            "tenant_id": "alice",
            "task_id": task.id,
            "url": "https://a.example/",
            "host": f"{number % 50}.example:443",
            "base_url": "",
            "state": "waiting" if number % 40 == 0 else "delivered",
            "attempts": 1,
            "created_at": float(number),
            "due_at": float(number),
        }
        for number in range(4000)
    ]

    def plans(connection: Connection) -> list[str]:
        connection.execute(insert(webhooks), rows)
        connection.execute(text("ANALYZE"))
        return [explain(connection, one) for one in (statements.NEXT_DUE, statements.NEXT_HOST)]

    for plan in await database.write(plans):
        assert "webhooks_due" in plan, plan
        assert "Sort" not in plan, plan
        assert "ORDER BY" not in plan, plan


def explain(connection: Connection, statement: Any) -> str:
    """Ask how a statement would be carried out."""
    words = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    written = statement.compile(dialect=connection.dialect).construct_expanded_state(
        {"full_hosts": ["0.example:443"], "full_tenants": ["bob"], "param_1": 1}
    )
    rows = connection.exec_driver_sql(words + written.statement, written.positional_parameters)
    return "\n".join(str(row[-1]) for row in rows)


async def test_what_never_began_is_no_try(outbox: Outbox, end_one: EndOne) -> None:
    """Handed back, a webhook is due after its pause with the number of tries that it had; it is weighed unread."""
    await end_one()
    [due] = await outbox.claim_due(ROOM, lease_s=LEASE_S)
    burden = await outbox.measure(due)

    assert await outbox.hand_back(due, pause_s=-1)
    assert not await outbox.hand_back(due, pause_s=-1)

    [again] = await outbox.claim_due(ROOM, lease_s=LEASE_S)
    assert (again, burden) == (due, Burden(dialect="fal", size_bytes=len('[]{"a": 1}')))
    await outbox.keep_body(due, "☃")
    assert await outbox.measure(due) == Burden(dialect="fal", size_bytes=3)
