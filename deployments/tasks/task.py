"""A task: the durable record of one request, and the states it moves through.

    queued ──► running ──► succeeded
       │          ├──────► failed
       │          ├──────► queued        its lease ended, or its replica handed it back
       └──────────┴──────► cancelled

A task reaches exactly one terminal state and never leaves it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from deployments.errors import FaultKind
from deployments.tasks.waterfall import Part
from models.request import GenerationRequest

_NOTHING: Mapping[Part, float] = MappingProxyType({})
_TASK_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


def is_task_id(text: str) -> bool:
    """Whether a task can have this id; ids come from callers, and a database cannot be asked for every text."""
    return _TASK_ID.fullmatch(text) is not None


class TaskState(StrEnum):
    """Where a task is in its life."""

    #: Accepted, waiting for a replica; entered at accept, or from running by rescue or hand-back.
    QUEUED = "queued"
    #: Leased by one replica; entered by its claim.
    RUNNING = "running"
    #: Its pictures are delivered; entered by its replica, final.
    SUCCEEDED = "succeeded"
    #: It cannot be done; entered by its replica, or by rescue after the last attempt; final.
    FAILED = "failed"
    #: Its tenant no longer wants it; final.
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the task will never change again."""
        return not ALLOWED_MOVES[self]


#: Every move a task may make.
ALLOWED_MOVES: Mapping[TaskState, frozenset[TaskState]] = MappingProxyType(
    {
        TaskState.QUEUED: frozenset({TaskState.RUNNING, TaskState.CANCELLED}),
        TaskState.RUNNING: frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.QUEUED, TaskState.CANCELLED}),
        TaskState.SUCCEEDED: frozenset(),
        TaskState.FAILED: frozenset(),
        TaskState.CANCELLED: frozenset(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One delivered picture."""

    #: Which sink holds it.
    sink: str
    #: What that sink needs to find it: a file name, a key, or the content itself.
    value: str
    #: Media type, e.g. ``image/jpeg``.
    content_type: str
    #: Length of the encoded picture.
    size_bytes: int
    #: SHA-256 of the encoded picture, hex.
    sha256: str
    #: The seed that draws it again.
    seed: int
    #: Pixels; 0 where nobody noted it.
    width: int = 0
    #: Pixels; 0 where nobody noted it.
    height: int = 0
    #: What its tenant's upload address answered, an HTTP status; 0 while it has not taken the picture.
    sent_status: int = 0
    #: The ETag of that answer; empty where there was none.
    sent_etag: str = ""
    #: When that was, in seconds since 1970; 0 while it has not.
    sent_at_s: float = 0.0
    #: Whether it should not be shown, by the judgement of the safety checker; None where it was not checked.
    is_unsafe: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a task failed."""

    #: The kind, from which a dialect chooses its own code.
    kind: FaultKind
    #: In words for the caller.
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Whom to tell that a task has ended."""

    #: Address to POST to, as the caller sent it.
    url: str
    #: Start of every absolute link that is told, without a trailing slash.
    base_url: str
    #: How many pictures are told one by one; 0 means that the task is told as a whole, as every failure is.
    pictures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is known of an accepted request; the request itself travels beside it, for it may be large."""

    #: 32 lower-case hex digits.
    id: str
    #: Who is billed and scheduled for it.
    tenant_id: str
    #: Catalog name of the model.
    model: str
    #: The dialect it was accepted in.
    dialect: str
    #: What the dialect wants to remember for its answers; small and flat.
    notes: Mapping[str, str]
    #: Which sinks take its pictures; every one of them takes every picture.
    sinks: tuple[str, ...] = ("files",)
    #: When it was accepted.
    created_at: datetime
    #: Whom to tell of its end.
    webhook: Webhook | None = None
    #: Where each picture is sent besides, by PUT.
    upload_url: str | None = None
    #: Seconds for which its pictures can be fetched; None means as long as the server keeps them by itself.
    lifetime_s: float | None = None
    #: When it is cancelled if it has not been started.
    start_before: datetime | None = None
    #: What it costs a GPU, in work units; more than 0.
    work_units: float = 1.0
    #: What it costs its tenant when it succeeds, in millionths of a dollar.
    price: int = 0
    #: Denoising steps to take, over all its pictures.
    steps_total: int = 1
    #: The ended task that it repeats, if an operator asked for that.
    replay_of: str | None = None
    #: Where it is in its life.
    state: TaskState = TaskState.QUEUED
    #: Claims so far, without those that were handed back unblamed.
    attempt: int = 0
    #: Grows with every claim; a write with an older fence is refused.
    fence: int = 0
    #: Denoising steps taken, over all its pictures.
    steps_done: int = 0
    #: When its present or last attempt started.
    started_at: datetime | None = None
    #: When it reached its terminal state.
    finished_at: datetime | None = None
    #: Time its replica spent on it, in milliseconds; 0 before the end.
    inference_ms: int = 0
    #: Its pictures, once succeeded: all sinks of the first one, then all sinks of the next.
    outputs: tuple[Output, ...] = ()
    #: Why it failed, once failed.
    fault: Fault | None = None
    #: Seconds that the replica which ended it spent on each part of it; empty where none noted them.
    spent: Mapping[Part, float] = field(default_factory=lambda: _NOTHING)
    #: To which trace it belongs, as the W3C's header of this name says it.
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A task leased to one replica, with the request it is to carry out."""

    #: As it is after the claim: running, with this claim's attempt and fence.
    task: Task
    #: The whole wish, references included.
    request: GenerationRequest
    #: How many tasks of its tenant were running before it.
    rank: int = 0
    #: Whether its tenant left so many others waiting that it may be overtaken by tasks of a lower rank.
    yields: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A sign of life for one claimed task."""

    #: Which task.
    task_id: str
    #: The claim's fence.
    fence: int
    #: Steps taken so far.
    steps_done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What one picture of a running task looks like."""

    #: Which one, counted from 0.
    picture: int
    #: Steps that were taken of it.
    steps_done: int
    #: A small JPEG, in base64.
    jpeg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A task's good end."""

    #: Its pictures, already placed and verified.
    outputs: tuple[Output, ...]
    #: Time its replica spent on it, in milliseconds.
    inference_ms: int
    #: Seconds of it that the device worked, without fetching, waiting and delivering; 0 says nothing.
    device_s: float = 0.0
    #: Seconds of that for each part of it.
    spent: Mapping[Part, float] = field(default_factory=lambda: _NOTHING)
