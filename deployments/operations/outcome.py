"""What comes of an operation, in no provider's words: plain values from ``Operations`` that a dialect writes down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployments.errors import CallRefused
    from deployments.tasks.task import Preview, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """A task, as its tenant may see it; of Submit, Refuse, Read, Watch, Cancel, Redeliver."""

    #: The task as it is now.
    task: Task
    #: One link or inline content per output of the task, in the order of ``task.outputs``.
    pictures: tuple[str, ...]
    #: Whether the caller wants to be answered only once the task has ended.
    is_awaited: bool = False
    #: Whether the task ends when the caller who waits for it hangs up.
    ends_with_caller: bool = False
    #: Whether the task ends when the server stops waiting before it has ended.
    ends_when_given_up: bool = False
    #: Whether the caller wants to be told of every change until the task has ended; of Watch.
    is_followed: bool = False
    #: Tasks of its model that are started before it, if asked for and if it waits.
    place: int | None = None
    #: What it looks like so far, if somebody follows it and previews are made.
    preview: Preview | None = None
    #: What the caller had sent, as JSON, if asked for and if it is still kept.
    body: str | None = None
    #: Whether this very call has ended it; of Cancel, and of a Submit that was given up.
    is_ended_by_call: bool = False

    @property
    def gave_up_waiting(self) -> bool:
        """Whether the caller wanted the end and the server stopped waiting before it."""
        return self.is_awaited and (self.is_ended_by_call or not self.task.state.is_terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """Which tasks were deleted; of Delete."""

    #: Their ids, without those that were not there.
    task_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of a list; of List."""

    #: The tasks of this page, without the outputs that are kept inline.
    tasks: tuple[TaskOutcome, ...]
    #: Which page it is, counted from 1.
    page: int
    #: Tasks on all pages.
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A tenant's money, in millionths of a dollar; of ReadBalance."""

    #: What it may still spend; None where nothing limits it.
    left: int | None
    #: What it has spent.
    spent: int
    #: What is set aside for its tasks that have not ended.
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """A price; of Quote."""

    #: In millionths of a dollar.
    price: int
    #: Catalog name of the model that would do it.
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecret:
    """A secret; of ReadWebhookSecret."""

    #: Starts with ``whsec_``.
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookKeys:
    """Public Ed25519 keys by their ids, base64url without padding; of ReadWebhookKeys."""

    #: The newest first.
    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A picture that is kept; of Keep, and of a PUT to a granted address."""

    #: Under which anybody can fetch it, and requests may refer to it.
    url: str
    #: Under which its tenant may name it, if it was kept so.
    uuid: str | None
    #: Media type by its content.
    content_type: str
    #: Length in bytes.
    size_bytes: int
    #: The name that its sender has for it.
    file_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A kept picture is gone; of Drop."""

    #: The UUID under which it was kept.
    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """An address to put a picture to, and the one to fetch it from; of GrantUpload."""

    #: Takes one PUT of the raw bytes, without a key.
    put_url: str
    #: Under which it can be fetched afterwards, and requests may refer to it.
    url: str
    #: Media type that was announced.
    content_type: str
    #: Until when the PUT is taken.
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadToken:
    """A token that stands for a key where pictures are kept; of IssueUploadToken."""

    #: Opens the routes that take upload tokens, and no others.
    token: str
    #: Until when it does.
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """What a model has done."""

    #: Tasks that wait.
    queued: int
    #: Tasks that run.
    running: int
    #: Tasks that ended well.
    succeeded: int
    #: Tasks that ended badly.
    failed: int
    #: Time that replicas spent on those that ended well, in milliseconds.
    inference_ms: int
    #: Time for which those that ended well had waited, in milliseconds.
    waited_ms: int
    #: When the last one ended, if any has.
    last_ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the models have done since the oldest task that is remembered; of ReadStatistics."""

    #: By the catalog name of the model.
    models: Mapping[str, ModelStatistics]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """The service can answer; of CheckHealth."""

    #: Whether what draws is up as well; true where nobody asked.
    draws: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the dialect says by itself; of Tell."""

    #: The dialect's own word for what to say.
    subject: str
    #: What it needs to say it.
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOutcome:
    """What came of one part of a batch."""

    #: What the dialect wanted to know again.
    notes: Mapping[str, str]
    #: What came of it, or why nothing did.
    outcome: Outcome | CallRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """What came of several things; of Batch."""

    #: In the order of the call.
    parts: tuple[PartOutcome, ...]

    @property
    def is_awaited(self) -> bool:
        """Whether the caller wants to be answered only once some task has ended."""
        return any(isinstance(part.outcome, TaskOutcome) and part.outcome.is_awaited for part in self.parts)


Outcome = (
    TaskOutcome
    | Deleted
    | Listing
    | Balance
    | Quoted
    | WebhookSecret
    | WebhookKeys
    | Kept
    | Dropped
    | Granted
    | UploadToken
    | Statistics
    | Healthy
    | Told
    | BatchOutcome
)
