"""What a caller can ask for, in no provider's words: plain values that a dialect makes and ``Operations`` carries out.

Knows no HTTP and no store. A dialect that needs something new adds it here, once, for all that come after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployments.errors import CallRefused
    from deployments.tasks.accept import OnceKey
    from deployments.tasks.task import TaskState, Webhook
    from models.request import GenerationRequest

_NO_NOTES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Accept a request and, if asked to, wait for its end."""

    #: The complete wish.
    request: GenerationRequest
    #: The dialect it came in.
    dialect: str
    #: Which sinks take the pictures; every one of them takes every picture.
    sinks: tuple[str, ...] = ("files",)
    #: What the dialect wants to find again when it answers later calls.
    notes: Mapping[str, str] = field(default_factory=lambda: _NO_NOTES)
    #: Whether to hold the answer until the task ends.
    wait: bool = False
    #: Whether its place in the queue is asked for as well.
    with_place: bool = False
    #: Whether to cancel the task when a caller who waits hangs up.
    cancel_with_caller: bool = False
    #: Whether to cancel the task when the server stops waiting before its end.
    cancel_when_given_up: bool = False
    #: Under which key the call counts once, however often it arrives.
    once: OnceKey | None = None
    #: Whom to tell of the end.
    webhook: Webhook | None = None
    #: Where to PUT each picture besides, as raw bytes.
    upload_url: str | None = None
    #: Seconds for which the pictures can be fetched; None means as long as the server keeps them by itself.
    lifetime_s: float | None = None
    #: Seconds within which it has to be started; it is cancelled otherwise.
    start_within_s: float | None = None
    #: What the caller sent, as JSON, for those who are shown it again.
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Accept a call that cannot be carried out as a task that has failed already, for dialects that work that way."""

    #: Why it cannot.
    refusal: CallRefused
    #: Catalog name of the model that was asked.
    model: str
    #: The dialect it came in.
    dialect: str
    #: What the dialect wants to find again; the refusal, as it will be shown, is its to write here.
    notes: Mapping[str, str] = field(default_factory=lambda: _NO_NOTES)
    #: Whom to tell of the end.
    webhook: Webhook | None = None
    #: Under which key the call counts once, however often it arrives.
    once: OnceKey | None = None
    #: What the caller sent, as JSON.
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Look at one task."""

    #: Whatever the caller sent as its id.
    task_id: str
    #: Whether its place in the queue is asked for as well.
    with_place: bool = False
    #: Whether what the caller had sent is asked for as well.
    with_body: bool = False
    #: Whether its pictures are asked for; without them it is read much faster where they lie in the task itself.
    with_pictures: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOnce:
    """Look at the task that a key has made."""

    #: Whatever the caller sent as its key.
    key: str
    #: Whether what the caller had sent is asked for as well.
    with_body: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Follow one task until it ends; every change is told."""

    #: Whatever the caller sent as its id.
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End one task, if it has not ended yet."""

    #: Whatever the caller sent as its id.
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """End some tasks, if they have not ended yet, and show them to nobody any more."""

    #: Whatever the caller sent as their ids.
    task_ids: tuple[str, ...]
    #: Whether one that is not there makes the call a refused one.
    must_exist: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeliver:
    """Send the pictures of an ended task to an address, as if it had been given with the task."""

    #: Whatever the caller sent as its id, or the key under which it was sent.
    task_id: str
    #: Where to PUT each picture, as raw bytes.
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """List the caller's tasks, newest first."""

    #: Which page, counted from 1.
    page: int = 1
    #: Tasks of one page.
    page_size: int = 100
    #: Only of this model, by its catalog name.
    model: str | None = None
    #: Only in one of these states; empty means any.
    states: tuple[TaskState, ...] = ()
    #: Only accepted at this moment or later.
    created_from: datetime | None = None
    #: Only accepted before this moment.
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBalance:
    """Say what the caller may still spend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Say what a request would cost."""

    #: The complete wish.
    request: GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWebhookSecret:
    """Show the secret with which this tenant's webhooks are signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWebhookKeys:
    """Show the public keys with which anybody can check a webhook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Keep a picture that the caller sends, so that requests can refer to it."""

    #: Its bytes, if the call carries them.
    content: bytes | None = None
    #: Where it is, if the call does not: an http(s) URL or a data URI.
    source: str | None = None
    #: A UUID by which this tenant, and no other, will name it; None where its link is all that is wanted.
    uuid: str | None = None
    #: The name that its sender has for it.
    file_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Delete a kept picture."""

    #: The UUID under which it was kept.
    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantUpload:
    """Let whoever has the address that is answered put one picture there, without a key."""

    #: Media type that was announced, e.g. ``image/png``.
    content_type: str
    #: The name that its sender has for it.
    file_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueUploadToken:
    """Let whoever has the token that is answered keep pictures as the caller, for a while and as often as they want."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStatistics:
    """Count what each model has done; for all tenants, without saying whose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHealth:
    """See whether the service can answer."""

    #: Whether what draws has to be up as well; to know takes a question to Ray Serve, which probes need not ask.
    of_replicas: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Say what the dialect knows by itself: a pong, a list of models."""

    #: The dialect's own word for what to say.
    subject: str
    #: What it needs to say it.
    notes: Mapping[str, str] = field(default_factory=lambda: _NO_NOTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Do several things, each as if it had come alone."""

    #: What to do; a refusal stands for a part that cannot be understood.
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a batch."""

    #: What the dialect wants to know again when it answers for this part.
    notes: Mapping[str, str]
    #: What to do, or why not.
    operation: Operation | CallRefused


Operation = (
    Submit
    | Refuse
    | Read
    | ReadOnce
    | Watch
    | Cancel
    | Delete
    | Redeliver
    | List
    | ReadBalance
    | Quote
    | ReadWebhookSecret
    | ReadWebhookKeys
    | Keep
    | Drop
    | GrantUpload
    | IssueUploadToken
    | ReadStatistics
    | CheckHealth
    | Tell
    | Batch
)
