"""The outbox: who is to be told of the end of a task, written in the transaction that ends it.

A claim moves the due time ahead, so what a lost sender had taken is due again. It says which hosts and tenants have no
room for more and takes none of theirs, so nobody's receiver stands in the way of another's. Knows no HTTP.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection, Executable, Row, exc

from deployments.database.database import Database
from deployments.database.schema import webhooks
from deployments.tasks import outbox_statements as statements
from deployments.tasks.rows import from_row, read_webhook, storable
from deployments.tasks.task import TaskState, Webhook
from deployments.tasks.webhook import Burden, DueWebhook, Told, WebhookLine, WebhookState

log = structlog.get_logger(__name__)

#: Longest name of a host in the outbox, in characters with its port; an index holds it.
MAX_HOST = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NONE: Mapping[str, int] = MappingProxyType({})
# SQLSTATEs of a value that does not fit, for itself or for an index; all others are trouble of the transaction.
_UNFIT_CLASSES = frozenset({"22", "54"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many webhooks a process can take, so that no host and no tenant has all of its hands."""

    #: In all.
    total: int
    #: Of one host, unless ``hosts`` says otherwise.
    per_host: int
    #: Of one tenant, unless ``tenants`` says otherwise.
    per_tenant: int
    #: Hosts that differ from the rest.
    hosts: Mapping[str, int] = field(default_factory=lambda: _NONE)
    #: Tenants that differ from the rest.
    tenants: Mapping[str, int] = field(default_factory=lambda: _NONE)

    @property
    def full(self) -> dict[str, list[str]]:
        """Name the hosts and tenants of which nothing can be taken, as the statements call them."""
        return {"full_hosts": _without_room(self.hosts), "full_tenants": _without_room(self.tenants)}

    def without(self, host: str, taken: Sequence[Row[Any]]) -> Room:
        """Return what is left once some webhooks of a host are taken; of that host, nothing."""
        used = Counter(str(row.tenant_id) for row in taken)
        left = {tenant: self.tenants.get(tenant, self.per_tenant) - count for tenant, count in used.items()}
        return Room(
            total=self.total - len(taken),
            per_host=self.per_host,
            per_tenant=self.per_tenant,
            hosts={**self.hosts, host: 0},
            tenants={**self.tenants, **left},
        )


def enqueue(connection: Connection, ended: Sequence[Row[Any]]) -> None:
    """Write down who is to be told of some tasks, in the transaction that ends them.

    What a caller wanted called must not keep its task from ending, nor those that end with it: a webhook whose values
    the database cannot hold is logged and dropped.
    """
    for task in ended:
        if webhook := read_webhook(task.webhook):
            _write_down(connection, task, webhook)


def host_of(url: str) -> str:
    """Return host and port of an address, by which webhooks wait for each other; empty when it cannot be read.

    Whatever the text, this is at most ``MAX_HOST`` characters that every database can hold.
    """
    try:
        parts = urlsplit(storable(url))
        host, port = parts.hostname or "", f":{parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)}"
    except ValueError:  # sending it will say what is wrong with it; a task ends all the same
        return ""
    return host[: MAX_HOST - len(port)] + port


class Outbox:
    """Webhooks in a database; every method raises Unavailable while that cannot be reached.

    Args:
        database: an open, migrated database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self, room: Room) -> float | None:
        """Return the seconds until the next webhook is due that there is room for; None when there is none."""
        rows = await self._database.rows(statements.NEXT_DUE, room.full)
        return float(rows[0].due_in_s) if rows else None

    async def claim_due(self, room: Room, *, lease_s: float) -> list[DueWebhook]:
        """Take webhooks that are due, as many as there is room for; each host's longest due first.

        Args:
            room: how many, in all and of each host and tenant.
            lease_s: how long they stay taken; a try must end sooner.
        """
        taken = await self._database.write(lambda connection: _claim(connection, room, lease_s))
        return [_due(row) for row in taken]

    async def read_told(self, task_id: str) -> Told | None:
        """Read the task that a webhook tells of; None when it was deleted."""
        rows = await self._database.rows(statements.READ_TOLD, {"this_id": task_id})
        return Told(task=from_row(rows[0]), body=rows[0].body) if rows else None

    async def measure(self, due: DueWebhook) -> Burden | None:
        """Read what a webhook would be to carry; None when its task was deleted."""
        rows = await self._database.rows(statements.MEASURE, {"this_id": due.id})
        if not rows:
            return None
        row = rows[0]
        return Burden(dialect=row.dialect, size_bytes=int(row.size_bytes), traceparent=row.traceparent)

    async def read_body(self, due: DueWebhook) -> str | None:
        """Read what was sent before; None before the first try."""
        rows = await self._database.rows(statements.READ_BODY, {"this_id": due.id})
        return rows[0].body if rows else None

    async def keep_body(self, due: DueWebhook, body: str) -> str:
        """Keep what is sent on the first try; return what every try sends, which is what was kept first."""
        values = {"this_id": due.id, "this_body": body}
        kept = await self._database.write(
            lambda connection: connection.execute(statements.KEEP_BODY, values).scalar_one_or_none()
        )
        return body if kept is None else str(kept)  # None: the task was purged meanwhile, and the webhook with it

    async def end(self, due: DueWebhook, state: WebhookState, *, answer: str) -> bool:
        """Note that a webhook is done with; False when it has been taken by somebody else since."""
        values = _mine(due) | {"this_state": state, "this_answer": answer}
        return bool(await self._database.write(lambda connection: connection.execute(statements.END, values).rowcount))

    async def put_off(self, due: DueWebhook, *, pause_s: float, answer: str) -> bool:
        """Note that a try has failed and the next is due in a while; False when somebody else has taken it since."""
        values = _mine(due) | {"pause_s": pause_s, "this_answer": answer}
        return bool(
            await self._database.write(lambda connection: connection.execute(statements.PUT_OFF, values).rowcount)
        )

    async def hand_back(self, due: DueWebhook, *, pause_s: float) -> bool:
        """Note that a try never began, and does not count; False when somebody else has taken it since."""
        values = _mine(due) | {"pause_s": pause_s}
        return bool(
            await self._database.write(lambda connection: connection.execute(statements.HAND_BACK, values).rowcount)
        )

    async def list(
        self,
        *,
        tenant_id: str | None = None,
        state: WebhookState | None = None,
        task_id: str | None = None,
        limit: int = 50,
    ) -> Sequence[WebhookLine]:
        """Read the newest webhooks, of one tenant, state or task where one is named."""
        chosen = statements.LIST
        if tenant_id is not None:
            chosen = chosen.where(webhooks.c.tenant_id == tenant_id)
        if state is not None:
            chosen = chosen.where(webhooks.c.state == state)
        if task_id is not None:
            chosen = chosen.where(webhooks.c.task_id == task_id)
        return [_line(row) for row in await self._database.rows(chosen, {"at_most": limit})]

    async def replay(self, webhook_ids: Sequence[str]) -> frozenset[str]:
        """Have some webhooks sent again at once, from the first try on; return the ids of those that were there."""
        return await self._replay(statements.REPLAY.where(webhooks.c.id.in_(webhook_ids)))

    async def replay_all(self, state: WebhookState, *, tenant_id: str | None = None) -> int:
        """Have every webhook of a state sent again, of one tenant or of all, and return how many."""
        chosen = statements.REPLAY.where(webhooks.c.state == state)
        if tenant_id is not None:
            chosen = chosen.where(webhooks.c.tenant_id == tenant_id)
        return len(await self._replay(chosen))

    async def _replay(self, chosen: Executable) -> frozenset[str]:
        return await self._database.write(lambda connection: frozenset(connection.execute(chosen).scalars()))


def _write_down(connection: Connection, task: Row[Any], webhook: Webhook) -> None:
    try:
        # Without a savepoint, PostgreSQL would refuse whatever else the transaction is for.
        with connection.begin_nested():
            connection.execute(statements.INSERT, _rows(task, webhook))
    except (exc.DBAPIError, UnicodeEncodeError) as error:
        if not _is_unfit(error):
            raise
        # Without a traceback: what it quotes is the caller's.
        log.error("webhook_not_written", task_id=task.id)  # noqa: TRY400 -- see above


def _is_unfit(error: exc.DBAPIError | UnicodeEncodeError) -> bool:
    if isinstance(error, UnicodeEncodeError | exc.DataError):
        return True
    return str(getattr(error.orig, "sqlstate", None) or "")[:2] in _UNFIT_CLASSES


def _rows(task: Row[Any], webhook: Webhook) -> list[dict[str, Any]]:
    one_by_one = webhook.pictures if task.state == TaskState.SUCCEEDED else 0
    return [_row(task, webhook, picture) for picture in (range(one_by_one) if one_by_one else [None])]


def _row(task: Row[Any], webhook: Webhook, picture: int | None) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "tenant_id": task.tenant_id,
        "task_id": task.id,
        "url": storable(webhook.url),
        "host": host_of(webhook.url),
        "base_url": webhook.base_url,
        "picture": picture,
        "state": WebhookState.WAITING,
        "attempts": 0,
        "created_at": task.finished_at,
        "due_at": task.finished_at,
    }


def _without_room(rooms: Mapping[str, int]) -> list[str]:
    return [name for name, room in rooms.items() if room <= 0]


def _claim(connection: Connection, room: Room, lease_s: float) -> list[Row[Any]]:
    taken: list[Row[Any]] = []
    while room.total > 0:
        host = connection.execute(statements.NEXT_HOST, room.full).scalar_one_or_none()
        if host is None:
            break
        rows = _claim_of(connection, host, room, lease_s)
        taken += rows
        room = room.without(host, rows)
    return taken


def _claim_of(connection: Connection, host: str, room: Room, lease_s: float) -> Sequence[Row[Any]]:
    values = {
        "this_host": host,
        "full_tenants": room.full["full_tenants"],
        "at_most": min(room.total, room.hosts.get(host, room.per_host)),
        "lease_s": lease_s,
    }
    return connection.execute(statements.CLAIM_OF_HOST, values).all()


def _due(row: Row[Any]) -> DueWebhook:
    return DueWebhook(
        id=row.id,
        tenant_id=row.tenant_id,
        task_id=row.task_id,
        url=row.url,
        host=row.host,
        base_url=row.base_url,
        picture=row.picture,
        attempt=row.attempts,
    )


def _mine(due: DueWebhook) -> dict[str, Any]:
    return {"this_id": due.id, "this_attempt": due.attempt}


def _line(row: Row[Any]) -> WebhookLine:
    return WebhookLine(
        id=row.id,
        tenant_id=row.tenant_id,
        task_id=row.task_id,
        host=row.host,
        state=WebhookState(row.state),
        attempts=row.attempts,
        last_answer=row.last_answer,
        due_at=datetime.fromtimestamp(row.due_at, UTC),
        seen_at=datetime.fromtimestamp(row.seen_at, UTC),
    )
