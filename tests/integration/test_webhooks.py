"""Webhooks from the end of a task to the receipt of a real server, and what is in between when it is not given."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from receiver import PATIENCE_S, Receiver, Respond, receiving, status
from structlog.testing import capture_logs

from deployments.byte_room import ByteRoom
from deployments.clock import utc_now
from deployments.database.database import Database
from deployments.database.signals import StoreSignal
from deployments.delivery.sink import Sink
from deployments.dialects.dialect import Event, Letter
from deployments.errors import Unavailable
from deployments.outbound.client import GuardedClient
from deployments.outbound.rules import Rules
from deployments.rounds import first_of
from deployments.tasks.outbox import Outbox, Room
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Output, Success, Task, Webhook
from deployments.tasks.webhook import DueWebhook, WebhookLine, WebhookState
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import WEBHOOKS
from deployments.tenants.openings import Opening, read_opening
from deployments.tenants.webhook_keys import WebhookSigner
from deployments.webhooks import PER_HOST, TRIES, Scribe, WebhookSender
from models.request import GenerationRequest

Accept = Callable[..., Awaitable[Task]]
Until = Callable[..., Awaitable[WebhookLine]]
Running = Callable[..., Any]

BASE_URL = "http://us.example"
#: Longer than any test may take.
LONG_S = 3600.0
SIGNER = WebhookSigner("a secret of thirty-two characters")


class Teller:
    """A dialect that does nothing but tell, each time in other words."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    def write_event(self, event: Event) -> bytes:
        """Say what ended and how; of what is called silent, nothing."""
        self.told.append(event)
        task = event.outcome.task
        if task.notes.get("is") == "silent":
            return b""
        if task.notes.get("is") == "broken":
            raise ZeroDivisionError
        said = {"id": task.id, "state": task.state, "pictures": event.outcome.pictures, "picture": event.picture}
        return json.dumps(said | {"sent": event.outcome.body, "word": f"☃ {len(self.told)}"}).encode()

    def sign(self, letter: Letter, signer: WebhookSigner) -> Mapping[str, str]:
        """Sign as WaveSpeed does."""
        signed = f"{letter.event_id}.{letter.sent_at_s}.".encode() + letter.body
        return {
            "Webhook-Id": letter.event_id,
            "Webhook-Timestamp": str(letter.sent_at_s),
            "Webhook-Signature": signer.hmac_sha256(letter.tenant_id, signed),
        }


@pytest.fixture
def teller() -> Teller:
    """Return the dialect of these tests."""
    return Teller()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """Return the outbox of the store's database."""
    return Outbox(database)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a running receiver."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def running(outbox: Outbox, signal: StoreSignal, teller: Teller, sinks: dict[str, Sink]) -> Running:
    """Return what runs a sender for a while; repeats come at once unless it is told otherwise."""

    @asynccontextmanager
    async def run(
        *, pause_s: float = 0.0, total_s: float = 15.0, private: bool = True, box: Outbox = outbox, **more: Any
    ) -> AsyncIterator[WebhookSender]:
        client = more.pop("client", None)
        sender = WebhookSender(
            outbox=box,
            signal=signal,
            client=client or GuardedClient(Rules(allows_private=private), total_s=total_s),
            scribe=Scribe(dialects={"teller": teller, "mute": object()}, sinks=sinks, signer=SIGNER),
            pause_s=lambda _attempt: pause_s,
            **more,
        )
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(sender.run(stopping))
            try:
                yield sender
            finally:
                stopping.set()

    return run


@pytest.fixture
def accept(store: TaskStore, make_task: Callable[..., Task], make_request: Callable[..., GenerationRequest]) -> Accept:
    """Return what accepts a task whose end is told to an address."""

    async def one(url: str, *, pictures: int = 0, body: str = '{"prompt": "a cat"}', **fields: Any) -> Task:
        webhook = Webhook(url=url, base_url=BASE_URL, pictures=pictures)
        task = make_task(**({"dialect": "teller", "webhook": webhook} | fields))
        return await store.accept(task, make_request(), body=body)

    return one


@pytest.fixture
def until_told(outbox: Outbox, signal: StoreSignal) -> Until:
    """Return a waiter for a task's only webhook to be in one of some states after a try; any will do without one."""

    async def wait(task: Task, *states: WebhookState) -> WebhookLine:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                seen = signal.mark()
                lines = await outbox.list(task_id=task.id)
                if lines and lines[0].state in (states or WebhookState) and lines[0].attempts and lines[0].last_answer:
                    return lines[0]
                await signal.wait(seen, timeout_s=0.02)  # webhooks wake nobody on PostgreSQL

    return wait


async def test_the_end_of_a_task_is_told(
    receiver: Receiver,
    running: Running,
    accept: Accept,
    carry_out: Callable[[], Awaitable[Task]],
    until_told: Until,
    sinks: Mapping[str, Sink],
) -> None:
    """The receiver gets one signed POST with links and what the caller had sent, to the very address it gave."""
    target = "/hook%2Fa?token=a%2Fb+c==&x"
    task = await accept(receiver.url(target))

    async with running():
        await carry_out()
        line = await until_told(task, WebhookState.DELIVERED)

    [call] = receiver.arrived
    assert call.line == f"POST {target} HTTP/1.1"
    assert call.headers["content-type"] == "application/json"
    said = json.loads(call.body)
    assert (said["id"], said["state"], said["picture"]) == (task.id, "succeeded", None)
    assert said["pictures"][0].startswith(f"{BASE_URL}/files/{task.id}")
    assert said["sent"] == '{"prompt": "a cat"}'
    assert (line.last_answer, line.attempts) == ("200", 1)
    assert sinks  # the link is the files sink's own


async def test_a_receiver_can_check_the_signature(
    receiver: Receiver, running: Running, accept: Accept, carry_out: Callable[[], Awaitable[Task]], until_told: Until
) -> None:
    """What is signed is the very bytes that arrive, with the tenant's own secret, at the time of sending."""
    task = await accept(receiver.url())

    async with running():
        await carry_out()
        line = await until_told(task, WebhookState.DELIVERED)

    [call] = receiver.arrived
    key = SIGNER.secret_of("alice").removeprefix("whsec_").encode()
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    assert call.headers["webhook-signature"] == hmac.new(key, signed, hashlib.sha256).hexdigest()
    assert call.headers["webhook-id"] == line.id
    assert abs(utc_now().timestamp() - int(call.headers["webhook-timestamp"])) <= 60


async def test_each_picture_is_told(
    receiver: Receiver, running: Running, accept: Accept, carry_out: Callable[[], Awaitable[Task]]
) -> None:
    """Where pictures are told one by one, each call tells another."""
    await accept(receiver.url(), pictures=3)

    async with running():
        await carry_out()
        calls = await receiver.until(3)

    assert sorted(json.loads(call.body)["picture"] for call in calls) == [0, 1, 2]
    assert len({call.headers["webhook-id"] for call in calls}) == 3


async def test_a_bad_end_is_told(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """A task that ends without a replica is told as well, to the sender that was waiting for it."""
    async with running():
        task = await accept(receiver.url())
        await store.cancel(task.id, tenant_id="alice")
        await until_told(task, WebhookState.DELIVERED)

    assert json.loads(receiver.arrived[0].body)["state"] == "cancelled"


async def test_nothing_to_tell(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """Where the dialect has nothing to say, nobody is called and the webhook is done with."""
    async with running():
        task = await accept(receiver.url(), notes={"is": "silent"})
        await store.cancel(task.id, tenant_id="alice")
        await until_told(task, WebhookState.SILENT)

    assert receiver.arrived == []


@pytest.mark.parametrize("answer", [status(500), status(404), status(302, "Location: /elsewhere"), b"nonsense", b""])
async def test_a_repeat_says_the_same(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until, answer: bytes
) -> None:
    """After anything but a receipt the same bytes come again under the same id; a redirect is followed nowhere."""
    receiver.says("/", answer, answer, status(204))
    task = await accept(receiver.url())

    async with running():
        await store.cancel(task.id, tenant_id="alice")
        line = await until_told(task, WebhookState.DELIVERED)

    assert [call.target for call in receiver.arrived] == ["/", "/", "/"]
    assert len({call.body for call in receiver.arrived}) == 1
    assert {call.headers["webhook-id"] for call in receiver.arrived} == {line.id}
    assert (line.attempts, line.last_answer) == (3, "204")


async def test_ten_tries_and_no_more(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """A webhook that is never received is given up after its tenth try, and keeps the last answer."""
    receiver.says("/", status(503))
    task = await accept(receiver.url())

    async with running():
        await store.cancel(task.id, tenant_id="alice")
        line = await until_told(task, WebhookState.DEAD)

    assert (line.attempts, line.last_answer) == (TRIES, "503")
    assert len(receiver.arrived) == TRIES == 10


async def test_gone_is_gone(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """A receiver that answers 410 is not asked again; the try counts as one that ended so."""
    receiver.says("/", status(410))
    dead = value_of(WEBHOOKS, outcome="dead")
    task = await accept(receiver.url())

    async with running():
        await store.cancel(task.id, tenant_id="alice")
        line = await until_told(task, WebhookState.DEAD)

    assert (line.attempts, line.last_answer) == (1, "410")
    assert len(receiver.arrived) == 1
    assert value_of(WEBHOOKS, outcome="dead") == dead + 1


async def test_a_receiver_that_hangs_is_asked_again(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """A call that is taken and not answered ends at the time-out, and is put off."""
    receiver.hangs("/")
    task = await accept(receiver.url())

    async with running(total_s=0.2, pause_s=3600):
        await store.cancel(task.id, tenant_id="alice")
        line = await until_told(task, WebhookState.WAITING)

    assert (line.attempts, line.last_answer) == (1, "could not be reached")


async def test_a_head_that_drips_is_no_receipt(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """An answer of which a byte comes now and then ends at the time-out, however recently one came."""
    receiver.drips("/", first=b"HTTP/1.1 200 OK\r\nX-Slow: ")
    task = await accept(receiver.url())

    async with running(total_s=0.3, pause_s=3600):
        await store.cancel(task.id, tenant_id="alice")
        line = await until_told(task, WebhookState.WAITING)

    assert line.last_answer == "could not be reached"


async def test_a_body_that_drips_is_cut(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """A status of 2xx is the receipt; its body is not waited for beyond the time-out."""
    receiver.drips("/", first=status(200).replace(b"Length: 0", b"Length: 1000"))
    task = await accept(receiver.url())

    async with running(total_s=1.0):
        await store.cancel(task.id, tenant_id="alice")
        line = await until_told(task, WebhookState.DELIVERED)

    assert line.last_answer == "200"


async def test_a_dead_host_delays_nobody(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """While one host hangs with dozens of webhooks due, another's are delivered; the dead one is dialled little."""
    async with receiving() as dead, running(total_s=LONG_S):
        dead.hangs("/")
        for _ in range(30):
            task = await accept(dead.url())
            await store.cancel(task.id, tenant_id="alice")
        await dead.until(PER_HOST)
        for _ in range(10):
            task = await accept(receiver.url())
            await store.cancel(task.id, tenant_id="alice")
            await until_told(task, WebhookState.DELIVERED)

        assert len(receiver.arrived) == 10
        assert len(dead.arrived) == PER_HOST == 4
        assert dead.open_now["/"] == PER_HOST


async def test_a_failing_host_is_called_one_at_a_time(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """Once a host has failed it gets one call at a time, until one is received."""
    receiver.says("/", status(500))
    first = await accept(receiver.url())
    await store.cancel(first.id, tenant_id="alice")

    async with running(total_s=0.5, pause_s=3600):
        await until_told(first, WebhookState.WAITING)
        receiver.hangs("/")
        for _ in range(6):
            task = await accept(receiver.url())
            await store.cancel(task.id, tenant_id="alice")
        await receiver.until(4)  # the first and half of the others: a call may be over before it has arrived

    assert receiver.most_open["/"] == 1


async def test_a_restart_loses_nothing(
    store: TaskStore, outbox: Outbox, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """What one process took, or put off, before it died is sent by the next one, with the same bytes and id."""
    receiver.says("/put-off", status(500), status(200))
    put_off, taken = await accept(receiver.url("/put-off")), await accept(receiver.url("/taken"))
    await store.cancel(put_off.id, tenant_id="alice")

    async with running(pause_s=0.5):
        await until_told(put_off)  # a test that stalls may find it delivered by now
    await store.cancel(taken.id, tenant_id="alice")
    await outbox.claim_due(Room(total=9, per_host=9, per_tenant=9), lease_s=0.5)
    async with running():
        await until_told(put_off, WebhookState.DELIVERED)
        await until_told(taken, WebhookState.DELIVERED)

    first, second = [call for call in receiver.arrived if call.target == "/put-off"]
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


async def test_a_stop_ends_what_hangs(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, outbox: Outbox
) -> None:
    """A stop waits a moment for what is under way and no longer; it is due again when its lease ends."""
    receiver.hangs("/")
    task = await accept(receiver.url())

    async with asyncio.timeout(PATIENCE_S), running(total_s=LONG_S):
        await store.cancel(task.id, tenant_id="alice")
        await receiver.until(1)

    [line] = await outbox.list()
    assert line.state is WebhookState.WAITING
    assert 0 < (line.due_at - line.seen_at).total_seconds() <= 30


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_private_addresses_are_refused(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until, host: str
) -> None:
    """Unless they are allowed, nobody at a private address is called."""
    task = await accept(receiver.url(host=host))

    async with running(private=False, pause_s=3600):
        await store.cancel(task.id, tenant_id="alice")
        line = await until_told(task, WebhookState.WAITING)

    assert line.last_answer == "is not at a public address"
    assert receiver.arrived == []


@pytest.mark.parametrize("dialect", ["mute", "unheard of"])
async def test_what_no_dialect_tells_is_put_off(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until, dialect: str
) -> None:
    """A webhook that this version cannot write is tried again later, maybe by another, and says why."""
    task = await accept(receiver.url(), dialect=dialect)

    async with running(pause_s=3600):
        await store.cancel(task.id, tenant_id="alice")
        line = await until_told(task, WebhookState.WAITING)

    assert line.last_answer == f"{dialect} sends no webhooks"
    assert receiver.arrived == []


async def test_a_mistake_in_one_holds_up_nothing(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """A dialect that breaks on an event is logged, and the next webhook is sent."""
    with capture_logs() as logs:
        async with running():
            bad = await accept(receiver.url(), notes={"is": "broken"})
            await store.cancel(bad.id, tenant_id="alice")
            good = await accept(receiver.url())
            await store.cancel(good.id, tenant_id="alice")
            await until_told(good, WebhookState.DELIVERED)

    assert [json.loads(call.body)["id"] for call in receiver.arrived] == [good.id]
    assert [entry["task_id"] for entry in logs if entry["event"] == "webhook_not_sent"] == [bad.id]


async def test_tries_that_end_without_a_word_end_too(
    store: TaskStore, outbox: Outbox, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """A webhook whose every try was lost, with its process or by a mistake of ours, is given up as well."""
    task = await accept(receiver.url())
    await store.cancel(task.id, tenant_id="alice")
    for _ in range(TRIES):
        assert await outbox.claim_due(Room(total=9, per_host=9, per_tenant=9), lease_s=-1)

    async with running():
        line = await until_told(task, WebhookState.DEAD)

    assert line.last_answer == "no try was finished"
    assert receiver.arrived == []


async def test_an_address_that_is_none(store: TaskStore, running: Running, accept: Accept, until_told: Until) -> None:
    """What is no http address is put off like all that fails."""
    task = await accept("ftp://127.0.0.1/")

    async with running(pause_s=3600):
        await store.cancel(task.id, tenant_id="alice")
        line = await until_told(task, WebhookState.WAITING)

    assert line.last_answer == "is not a plain http or https URL"


class StumblingOutbox(Outbox):
    """An outbox whose database is away the first time that something is to be written down."""

    stumbles = 0

    async def end(self, due: DueWebhook, state: WebhookState, *, answer: str) -> bool:
        """Fail once, then note it."""
        self.stumbles += 1
        if self.stumbles == 1:
            raise Unavailable
        return await super().end(due, state, answer=answer)


async def test_a_database_that_is_away_ends_nothing(
    database: Database, store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """A receipt that cannot be written down costs a repeat, not the loop."""
    async with running(box=StumblingOutbox(database)):
        lost = await accept(receiver.url("/lost"))
        await store.cancel(lost.id, tenant_id="alice")
        await receiver.until(1)
        good = await accept(receiver.url("/good"))
        await store.cancel(good.id, tenant_id="alice")
        await until_told(good, WebhookState.DELIVERED)

    assert sorted(call.target for call in receiver.arrived) == ["/good", "/lost"]


async def test_a_deleted_task_is_told_to_nobody(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, outbox: Outbox
) -> None:
    """When a task is purged while its webhook waits, the webhook goes with it and the sender goes on."""
    task = await accept(receiver.url())
    await store.cancel(task.id, tenant_id="alice")
    await store.forget(keep_s=-1)

    async with running():
        good = await accept(receiver.url("/good"))
        await store.cancel(good.id, tenant_id="alice")
        await receiver.until(1)

    assert [call.target for call in receiver.arrived] == ["/good"]
    assert [line.task_id for line in await outbox.list()] == [good.id]


async def test_a_replay_is_sent_at_once(
    store: TaskStore, outbox: Outbox, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """What an operator replays reaches a receiver that has changed its mind."""
    receiver.says("/", status(410), status(200))
    task = await accept(receiver.url())

    async with running():
        await store.cancel(task.id, tenant_id="alice")
        dead = await until_told(task, WebhookState.DEAD)
        await outbox.replay([dead.id])
        await until_told(task, WebhookState.DELIVERED)

    first, second = receiver.arrived
    assert first.body == second.body


async def test_logs_hold_no_secret(
    store: TaskStore, receiver: Receiver, running: Running, accept: Accept, until_told: Until
) -> None:
    """What is logged names the host and never the rest of an address, whatever comes of it."""
    receiver.says("/path-secret?query-secret", status(500), status(200))
    with capture_logs() as logs:
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(running())
            task = await accept(receiver.url("/path-secret?query-secret"))
            await store.cancel(task.id, tenant_id="alice")
            await until_told(task, WebhookState.DELIVERED)

    events = [entry["event"] for entry in logs]
    assert {"webhook_put_off", "webhook_delivered"} <= set(events)
    assert "secret" not in repr(logs)
    assert f"127.0.0.1:{receiver.port}" in repr(logs)


class Watched(Outbox):
    """An outbox that tells when it was asked to take something back."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.was_asked = asyncio.Event()

    async def hand_back(self, due: DueWebhook, *, pause_s: float) -> bool:
        """Take it back."""
        self.was_asked.set()
        return await super().hand_back(due, pause_s=pause_s)


async def test_a_large_body_waits_for_room_and_no_try_is_counted(
    running: Running, accept: Accept, store: TaskStore, receiver: Receiver, database: Database, until_told: Until
) -> None:
    """While one that hangs has all the room, another is handed back as it was, a small one passes; then it is told."""
    room, box = ByteRoom(total=1000, per_tenant=1000, uncounted=100, patience_s=0.02), Watched(database)
    makes_room = asyncio.Event()
    receiver.answers["/first"] = answering_after(makes_room)
    first, second = [await accept(receiver.url(path), body=json.dumps("x" * 900)) for path in ("/first", "/second")]
    small = await accept(receiver.url("/small"))

    async with running(room=room, total_s=LONG_S, box=box):
        await store.cancel(first.id, tenant_id="alice")
        await receiver.until(1, "/first")
        await store.cancel(second.id, tenant_id="alice")
        await store.cancel(small.id, tenant_id="alice")
        await receiver.until(1, "/small")
        await asyncio.wait_for(box.was_asked.wait(), PATIENCE_S)
        passed = {one.target for one in receiver.arrived}
        makes_room.set()
        told = await until_told(second, WebhookState.DELIVERED)

    assert passed == {"/first", "/small"}
    assert told.attempts == 1


def answering_after(event: asyncio.Event) -> Respond:
    """Return what answers a call once an event is set, unless its caller has had enough before."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await first_of(event.wait(), reader.read())
        writer.write(status(200))
        await writer.drain()

    return answer


class Stumbling(Watched):
    """An outbox that takes nothing back."""

    async def hand_back(self, due: DueWebhook, *, pause_s: float) -> bool:  # noqa: ARG002 -- the parent's arguments
        """Fail, as it does while the database is away."""
        self.was_asked.set()
        raise Unavailable


async def test_what_cannot_be_handed_back_is_left_to_its_lease(
    running: Running, accept: Accept, store: TaskStore, receiver: Receiver, database: Database
) -> None:
    """A webhook without room whose handing back fails is logged, and its send ends like any other."""
    room, box = ByteRoom(total=1000, per_tenant=1000, uncounted=100, patience_s=0.02), Stumbling(database)
    receiver.hangs("/first")
    first, second = [await accept(receiver.url(path), body=json.dumps("x" * 900)) for path in ("/first", "/second")]

    with capture_logs() as events:
        async with running(room=room, total_s=LONG_S, box=box) as sender:
            await store.cancel(first.id, tenant_id="alice")
            await receiver.until(1, "/first")
            sending = set(sender._sending)
            await store.cancel(second.id, tenant_id="alice")
            await asyncio.wait_for(box.was_asked.wait(), PATIENCE_S)
            [ended] = [each for each in sender._sending if each not in sending] or [None]
            failure = await ended if ended else None

    assert failure is None
    assert [(one["event"], one["task_id"]) for one in events if one["log_level"] == "error"] == [
        ("webhook_not_sent", second.id)
    ]


async def test_while_openings_are_unknown_no_try_is_counted(
    running: Running, accept: Accept, store: TaskStore, receiver: Receiver, until_told: Until
) -> None:
    """A webhook that nobody could be asked about for our own trouble is handed back, and told once that is over."""
    asked: list[str] = []

    async def openings_of(tenant_id: str) -> list[Opening]:
        asked.append(tenant_id)
        if len(asked) == 1:
            raise Unavailable
        return [read_opening("127.0.0.0/8")]

    task = await accept(receiver.url())

    async with running(client=GuardedClient(Rules(), openings_of=openings_of)):
        await store.cancel(task.id, tenant_id="alice")
        told = await until_told(task, WebhookState.DELIVERED)

    assert (asked, told.attempts, len(receiver.arrived)) == (["alice"] * 2, 1, 1)


async def test_pictures_that_are_elsewhere_are_said_to_be(
    running: Running, accept: Accept, store: TaskStore, receiver: Receiver, until_told: Until
) -> None:
    """Where a bucket is no longer set up, no webhook pretends that there are no pictures; an operator reads why."""
    task = await accept(receiver.url("/hook"))
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    output = Output(sink="bucket", value="k", content_type="image/jpeg", size_bytes=1, sha256="0" * 64, seed=1)
    await store.succeed(task.id, fence=claim.task.fence, success=Success(outputs=(output,), inference_ms=5))

    async with running(pause_s=60.0):
        told = await until_told(task, WebhookState.WAITING)

    assert told.last_answer == "the pictures are in a bucket that this server is not set up for"
    assert receiver.arrived == []
