"""Sends webhooks: takes what is due from the outbox, writes it in the words of its dialect, signs it, and posts it.

    next_due ─► claim ─┬► read the task ─► write, keep ─► sign ─► POST ─► delivered | put off | dead
       ▲               └► … up to 64 at once
       └── a change of the store, the next due time, or a send that has ended

A host that hangs holds up four sends at most, and one once it has failed; no claim takes more of it, so webhooks of
other hosts never wait behind it. What is told may hold pictures, so large bodies are read only as there is room for
them in memory. At least once: a receiver sees a repeat by its event's id. Knows no dialect's words.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from cachetools import TTLCache
from opentelemetry.trace import SpanKind

from deployments.byte_room import ByteRoom, NoRoom
from deployments.clock import utc_now
from deployments.dialects.dialect import Event, Letter, Telling
from deployments.errors import NotReached, Unavailable, UxoError
from deployments.operations.outcome import TaskOutcome
from deployments.rounds import Round, first_of, forever, run_until
from deployments.tasks.outbox import Outbox, Room
from deployments.tasks.webhook import DueWebhook, Told, WebhookState
from deployments.telemetry.metrics import WEBHOOKS
from deployments.telemetry.tracing import span

if TYPE_CHECKING:
    from deployments.database.signals import StoreSignal
    from deployments.delivery.sink import Sink
    from deployments.outbound.client import GuardedClient
    from deployments.tenants.webhook_keys import WebhookSigner

log = structlog.get_logger()

#: Sends at once, in all, to one host, to a host whose last send failed, and for one tenant.
AT_ONCE, PER_HOST, PER_FAILING_HOST, PER_TENANT = 64, 4, 1, 32
#: Bytes of bodies that are in memory at once, in all and of one tenant, and those of a body that nobody counts. While
#: it is written, a body is there about five times.
MAX_BYTES, MAX_TENANT_BYTES, UNCOUNTED_BYTES = 192 * 1024**2, 96 * 1024**2, 256 * 1024
#: Seconds for which a large body waits for room, and after which it is taken again when there was none; with the send
#: itself that is less than a lease.
ROOM_PATIENCE_S, NO_ROOM_PAUSE_S = 5.0, 1.0
#: Seconds for which a claimed webhook is this process's; longer than a send can take, and what a lost one waits.
LEASE_S = 25.0
#: Tries before a webhook is given up.
TRIES = 10
#: Longest pauses before the second and before the last try, in seconds; with a send of 15 s that hangs, a receiver is
#: asked again within 30 s.
FIRST_PAUSE_S, LAST_PAUSE_S = 12.0, 7200.0
#: Seconds after which the outbox is looked at without a signal.
POLL_S = 1.0
#: Seconds between two looks, however often the store changes.
LOOK_EVERY_S = 0.05
#: Seconds that sends under way are given at a stop.
FAREWELL_S = 3.0
#: Bytes of an answer that are read, so that a receiver can finish its sentence; nobody looks at them.
MAX_ANSWER_BYTES = 4096
#: How many failing hosts are remembered, and for how many seconds after their last failure.
REMEMBERED_HOSTS, REMEMBERED_S = 10_000, 7200.0


class Untellable(UxoError):
    """A webhook cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What comes of a try."""

    #: What becomes of the webhook; waiting means that it is put off.
    state: WebhookState
    #: What was answered, in few words for an operator.
    answer: str
    #: Whether the host gave cause to ask it less.
    is_host_failing: bool = False


def pause_s(attempt: int, *, chance: float) -> float:
    """Return how long to wait after a failed try.

    Each pause is longer than the one before, for the shortest is four fifths of the longest and they more than double.

    Args:
        attempt: which try failed, counted from 1.
        chance: in [0, 1]; spreads the repeats of webhooks that failed together.
    """
    growth: float = (LAST_PAUSE_S / FIRST_PAUSE_S) ** (1 / (TRIES - 2))
    return min(FIRST_PAUSE_S * growth ** (attempt - 1), LAST_PAUSE_S) * (0.8 + 0.2 * chance)


def random_pause_s(attempt: int) -> float:
    """Return how long to wait after a failed try, by chance."""
    return pause_s(attempt, chance=random.random())  # noqa: S311 -- spreads load, guards nothing


def judge_status(status: int, *, attempt: int) -> Verdict:
    """Decide what an HTTP status means for a webhook."""
    if 200 <= status < 300:
        return Verdict(state=WebhookState.DELIVERED, answer=str(status))
    if status == HTTPStatus.GONE:
        return Verdict(state=WebhookState.DEAD, answer=str(status))
    return judge_failure(str(status), attempt=attempt)


def judge_failure(answer: str, *, attempt: int) -> Verdict:
    """Decide what becomes of a webhook whose receiver does not have it."""
    state = WebhookState.DEAD if attempt >= TRIES else WebhookState.WAITING
    return Verdict(state=state, answer=answer, is_host_failing=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scribe:
    """Writes and signs webhooks in the words of their dialects; pure."""

    #: By name; those that send webhooks are ``Telling``.
    dialects: Mapping[str, object]
    #: Where pictures are, by kind; they make the links that are told.
    sinks: Mapping[str, Sink]
    #: What dialects sign with.
    signer: WebhookSigner

    def write(self, due: DueWebhook, told: Told) -> str:
        """Write the body of a webhook; empty when there is nothing to tell.

        Raises:
            Untellable: when no dialect can.
        """
        task = told.task
        if any(one.sink not in self.sinks for one in task.outputs):
            raise Untellable("the pictures are in a bucket that this server is not set up for")
        links = [self.sinks[one.sink].link(one.value, base_url=due.base_url) for one in task.outputs]
        outcome = TaskOutcome(task=task, pictures=tuple(links), body=told.body)
        event = Event(id=due.id, outcome=outcome, picture=due.picture, base_url=due.base_url)
        return self._telling(task.dialect).write_event(event).decode()

    def sign(self, due: DueWebhook, dialect: str, body: bytes, *, sent_at_s: int) -> Mapping[str, str]:
        """Return the headers that show a webhook to be ours.

        Raises:
            Untellable: when no dialect can.
        """
        letter = Letter(event_id=due.id, tenant_id=due.tenant_id, task_id=due.task_id, body=body, sent_at_s=sent_at_s)
        return self._telling(dialect).sign(letter, self.signer)

    def _telling(self, name: str) -> Telling:
        dialect = self.dialects.get(name)
        if not isinstance(dialect, Telling):
            raise Untellable(f"{name} sends no webhooks")
        return dialect


class Hands:
    """What is being sent right now, and which hosts gave trouble last."""

    def __init__(self) -> None:
        """Begin with empty hands and no grudge."""
        self.by_host: Counter[str] = Counter()
        self.by_tenant: Counter[str] = Counter()
        self.failing: TTLCache[str, bool] = TTLCache(REMEMBERED_HOSTS, REMEMBERED_S)

    def fill(self, due: DueWebhook) -> None:
        """Note that a send begins."""
        self.by_host[due.host] += 1
        self.by_tenant[due.tenant_id] += 1

    def free(self, due: DueWebhook) -> None:
        """Note that a send has ended."""
        self.by_host -= Counter({due.host: 1})
        self.by_tenant -= Counter({due.tenant_id: 1})

    def note(self, host: str, *, is_failing: bool) -> None:
        """Note how a host's last send went."""
        if is_failing:
            self.failing[host] = True
        else:
            self.failing.pop(host, None)

    @property
    def room(self) -> Room:
        """Return what can be taken besides."""
        hosts = {*self.by_host, *self.failing}
        return Room(
            total=AT_ONCE - self.by_host.total(),
            per_host=PER_HOST,
            per_tenant=PER_TENANT,
            hosts={host: self._limit_of(host) - self.by_host[host] for host in hosts},
            tenants={tenant: PER_TENANT - count for tenant, count in self.by_tenant.items()},
        )

    def _limit_of(self, host: str) -> int:
        return PER_FAILING_HOST if host in self.failing else PER_HOST


def default_room() -> ByteRoom:
    """Return room for the bodies that one process has in memory at once."""
    return ByteRoom(total=MAX_BYTES, per_tenant=MAX_TENANT_BYTES, uncounted=UNCOUNTED_BYTES, patience_s=ROOM_PATIENCE_S)


class WebhookSender:
    """Sends what is due, for as long as it runs; any number of them share one outbox."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        signal: StoreSignal,
        client: GuardedClient,
        scribe: Scribe,
        pause_s: Callable[[int], float] = random_pause_s,
        room: ByteRoom | None = None,
    ) -> None:
        """Take the doors it works through; ``pause_s`` says how long to wait after which failed try."""
        self._outbox = outbox
        self._signal = signal
        self._client = client
        self._scribe = scribe
        self._pause_s = pause_s
        self._hands = Hands()
        self._room = room or default_room()
        self._sending: set[asyncio.Task[None]] = set()
        self._hand_is_free = asyncio.Event()

    def __repr__(self) -> str:
        """Say how much is under way."""
        return f"<WebhookSender [{len(self._sending)} under way | {len(self._hands.failing)} hosts failing]>"

    async def run(self, stopping: asyncio.Event) -> None:
        """Send until told to stop; what is then under way has a moment to end, and is repeated if it does not."""
        try:
            await run_until(stopping, forever(Round.WEBHOOKS, self.send_due, every_s=LOOK_EVERY_S))
        finally:
            await self._take_leave()

    async def send_due(self) -> int:
        """Begin to send what is due, or wait until something may be; return how many sends were begun."""
        seen = self._signal.mark()
        self._hand_is_free.clear()
        room = self._hands.room
        due_in_s = await self._outbox.next_due(room) if room.total > 0 else None
        if due_in_s is None or due_in_s > 0:
            await self._wait(seen, timeout_s=POLL_S if due_in_s is None else min(due_in_s, POLL_S))
            return 0
        taken = await self._outbox.claim_due(room, lease_s=LEASE_S)
        for due in taken:
            self._begin(due)
        return len(taken)

    async def _wait(self, seen: int, *, timeout_s: float) -> None:
        """Wait for a change of the store or for a send to end."""
        await first_of(self._signal.wait(seen, timeout_s=timeout_s), self._hand_is_free.wait())

    def _begin(self, due: DueWebhook) -> None:
        self._hands.fill(due)
        sending = asyncio.create_task(self._send(due))
        self._sending.add(sending)

        def note_end(ended: asyncio.Task[None]) -> None:
            self._sending.discard(ended)
            self._hands.free(due)
            self._hand_is_free.set()

        sending.add_done_callback(note_end)

    async def _send(self, due: DueWebhook) -> None:
        try:
            await self._send_or_hand_back(due)
        except Exception:  # one webhook must not end the others; its lease ends, and it is tried again
            log.exception("webhook_not_sent", webhook_id=due.id, task_id=due.task_id, attempt=due.attempt)

    async def _send_or_hand_back(self, due: DueWebhook) -> None:
        try:
            verdict = await self._try(due)
        except (NoRoom, Unavailable):  # nobody was asked, so it counts as no try
            await self._outbox.hand_back(due, pause_s=NO_ROOM_PAUSE_S)
            return
        self._hands.note(due.host, is_failing=verdict.is_host_failing)
        await self._write_down(due, verdict)

    async def _try(self, due: DueWebhook) -> Verdict:
        burden = await self._outbox.measure(due)
        if burden is None:
            return _GONE
        if due.attempt > TRIES:  # earlier tries were lost without a word, with their process or by a mistake of ours
            return Verdict(state=WebhookState.DEAD, answer="no try was finished")
        try:
            async with self._room.of(burden.size_bytes, tenant_id=due.tenant_id):
                body = await self._outbox.read_body(due) or await self._first_body(due)
                with span("webhook", burden.traceparent, kind=SpanKind.CLIENT, uxo__task_id=due.task_id):
                    return await self._post(due, burden.dialect, body.encode()) if body else _SILENCE
        except NotReached as failure:
            if failure.status is not None:  # it has answered, and only the rest of the answer is missing
                return judge_status(failure.status, attempt=due.attempt)
            return judge_failure(failure.message, attempt=due.attempt)
        except Untellable as failure:
            return judge_failure(failure.message, attempt=due.attempt)

    async def _first_body(self, due: DueWebhook) -> str:
        told = await self._outbox.read_told(due.task_id)
        if told is None:  # deleted in this very moment
            return ""
        # Off the event loop: a body may hold pictures. Kept before it is sent, so that every repeat says the same.
        body = await asyncio.to_thread(self._scribe.write, due, told)
        return await self._outbox.keep_body(due, body) if body else ""

    async def _post(self, due: DueWebhook, dialect: str, body: bytes) -> Verdict:
        signed = self._scribe.sign(due, dialect, body, sent_at_s=int(utc_now().timestamp()))
        answer = await self._client.of(due.tenant_id).send(
            "POST",
            due.url,
            headers={"Content-Type": "application/json", **signed},
            body=body,
            max_redirects=0,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )
        return judge_status(answer.status, attempt=due.attempt)

    async def _write_down(self, due: DueWebhook, verdict: Verdict) -> None:
        if verdict.state is WebhookState.WAITING:
            pause_s = self._pause_s(due.attempt)
            await self._outbox.put_off(due, pause_s=pause_s, answer=verdict.answer)
            _log(due, verdict, pause_s=round(pause_s, 1))
        else:
            await self._outbox.end(due, verdict.state, answer=verdict.answer)
            _log(due, verdict)

    async def _take_leave(self) -> None:
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=FAREWELL_S)
            for each in late:
                each.cancel()
            await asyncio.gather(*late, return_exceptions=True)


_SILENCE = Verdict(state=WebhookState.SILENT, answer="nothing to tell")
_GONE = Verdict(state=WebhookState.SILENT, answer="its task is gone")
_EVENTS: Mapping[WebhookState, str] = {
    WebhookState.WAITING: "webhook_put_off",
    WebhookState.DELIVERED: "webhook_delivered",
    WebhookState.SILENT: "webhook_silent",
    WebhookState.DEAD: "webhook_dead",
}


def _log(due: DueWebhook, verdict: Verdict, **more: float) -> None:
    WEBHOOKS.add(outcome=verdict.state)
    # The host and not the address, whose path and query may hold secrets.
    log.info(
        _EVENTS[verdict.state],
        webhook_id=due.id,
        task_id=due.task_id,
        tenant_id=due.tenant_id,
        host=due.host,
        attempt=due.attempt,
        answer=verdict.answer,
        **more,
    )
