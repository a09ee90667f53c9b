"""A webhook on its way: what is known of it before, while and after it is sent. Values only; knows no table.

waiting ── claim ──► waiting, taken ──┬──► delivered    a receiver has it
   ▲  ▲                  │            ├──► silent       there was nothing to tell
   │  └── its lease ends ┘            ├──► dead         no more tries
   └────────── put off ───────────────┘
                                        any ── replay ──► waiting
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from deployments.tasks.task import Task


class WebhookState(StrEnum):
    """Where a webhook is in its life."""

    #: It is to be sent, now or later.
    WAITING = "waiting"
    #: Its receiver has said that it got it.
    DELIVERED = "delivered"
    #: Its dialect tells nothing of such an end.
    SILENT = "silent"
    #: It was given up.
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWebhook:
    """A webhook that this process has taken to send."""

    #: The same in every repeat.
    id: str
    #: Whose task it is about.
    tenant_id: str
    #: The task it is about.
    task_id: str
    #: Address to POST to, as the caller sent it; may hold secrets.
    url: str
    #: Host and port of the address.
    host: str
    #: Start of every absolute link that is told, without a trailing slash.
    base_url: str
    #: Which picture is told, counted from 0; None where the task is told as a whole.
    picture: int | None
    #: Which try this is, counted from 1.
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Burden:
    """What a webhook would be to carry, known before any of it is read."""

    #: The dialect that its task came in.
    dialect: str
    #: Bytes of what was sent before, or else of what it is written from.
    size_bytes: int
    #: The trace that its task belongs to, if any.
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a webhook tells of."""

    #: The ended task.
    task: Task
    #: What its caller had sent, as JSON, if it was kept.
    body: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookLine:
    """A webhook as a list shows it."""

    #: The same in every repeat.
    id: str
    #: Whose task it is about.
    tenant_id: str
    #: The task it is about.
    task_id: str
    #: Host and port that it goes to.
    host: str
    #: Where it is in its life.
    state: WebhookState
    #: Tries so far.
    attempts: int
    #: What came of the last try.
    last_answer: str | None
    #: When the next try is due; means nothing once it is not waiting.
    due_at: datetime
    #: The database's clock when this was read.
    seen_at: datetime
