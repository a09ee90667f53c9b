"""Where the time of a task went, from its accept to its end, in parts that follow one another.

    queued ─ fetching ─ preparing ─ waiting ─ stepping ─ decoding ─ checking ─ encoding ─ delivering ─ other
    └ store ┘└────────────────────────────── the replica that ends it ─────────────────────────────┘ └ nobody ┘

The store knows when a task was accepted, started and ended. Its replica knows, by a clock of its own, how long each
part took, and which was the last. What is left until the end is the last part's where it is next to nothing, and shown
as what it is where it is more, so the parts are the whole, and none of them holds what it did not take. What comes in
turns is added up: a task waits between its steps while others take theirs. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from deployments.tasks.task import Task


#: The part of an attempt that may be nobody's without being shown: between two clocks, and while the end is written.
UNSHOWN = 0.02

#: What is noted of a task that ends while it waits again after an attempt that was lost.
WAITED_TO_THE_END = '{"queued": 0}'


class Part(StrEnum):
    """What a task's time is spent on, in this order."""

    #: From its accept to the start of its last attempt, with attempts that were lost; all of it, where it waited again
    #: when it ended.
    QUEUED = "queued"
    #: From its start to its end, where nobody noted more: it was cancelled, or its replica was lost.
    RUNNING = "running"
    #: Until its references are pictures.
    FETCHING = "fetching"
    #: While the device encodes its prompt and references.
    PREPARING = "preparing"
    #: While the device is busy with others.
    WAITING = "waiting"
    #: While its samples step.
    STEPPING = "stepping"
    #: While the device makes pictures of its samples.
    DECODING = "decoding"
    #: While the pictures are looked at, and wait for that.
    CHECKING = "checking"
    #: While the pictures become files.
    ENCODING = "encoding"
    #: While the files are placed and sent.
    DELIVERING = "delivering"
    #: What nobody noted: the end was written down, or the processor was busy elsewhere.
    OTHER = "other"


def waterfall_of(task: Task) -> Mapping[Part, float]:
    """Return the seconds of every part of an ended task, in order; they are not negative and sum to the whole.

    Nothing for a task that has not ended.
    """
    if task.finished_at is None:
        return {}
    started_at = last_start(task)
    queued_s = ((started_at or task.finished_at) - task.created_at).total_seconds()
    if started_at is None:
        return {Part.QUEUED: queued_s}
    ran_s = (task.finished_at - started_at).total_seconds()
    return {Part.QUEUED: queued_s, **(_filled(task.spent, ran_s) if task.spent else {Part.RUNNING: ran_s})}


def last_start(task: Task) -> datetime | None:
    """Return when the attempt began that runs or that ended a task; None where it waits, or waited until its end.

    The store keeps the start of an attempt that was lost, since fair order goes by what was ever started.
    """
    return None if task.state == "queued" or Part.QUEUED in task.spent else task.started_at


def _filled(spent: Mapping[Part, float], ran_s: float) -> dict[Part, float]:
    """Show what is left, or give it to the last part where it is little; what is too much by the clocks shrinks."""
    *others, last = [part for part in Part if part in spent]
    left_s = ran_s - sum(spent.values())
    if left_s > UNSHOWN * ran_s:
        return {**{part: spent[part] for part in (*others, last)}, Part.OTHER: left_s}
    known_s = sum(spent[part] for part in others)
    scale = min(1.0, ran_s / known_s) if known_s else 1.0
    parts = {part: spent[part] * scale for part in others}
    return {**parts, last: max(ran_s - sum(parts.values()), 0.0)}


def write_spent(spent: Mapping[Part, float]) -> str | None:
    """Write what a replica noted as its column: seconds by part, to the tenth of a millisecond."""
    return json.dumps({part: round(seconds, 4) for part, seconds in spent.items()}) if spent else None


def read_spent(text: str | None) -> Mapping[Part, float]:
    """Read what a replica noted from its column; parts that another version knows are left out."""
    told = {} if text is None else json.loads(text)
    return {part: max(float(told[part]), 0.0) for part in Part if part in told}
