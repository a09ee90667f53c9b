"""Between a Task and its row: pure, and the only place that knows both.

Knows no statement and no connection. Whatever text arrives, what comes out can be stored in either database.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from deployments.errors import FaultKind
from deployments.tasks.task import Fault, Output, Preview, Success, Task, TaskState, Webhook
from deployments.tasks.waterfall import read_spent, write_spent


def to_row(task: Task) -> dict[str, Any]:
    """Write a task as the columns of its row; leases and faults are not a new task's to have."""
    return {
        "id": task.id,
        "tenant_id": task.tenant_id,
        "model": task.model,
        "dialect": task.dialect,
        "notes": json.dumps(dict(task.notes)),
        "sink": ",".join(task.sinks),
        "state": task.state,
        "fair_key": 0.0,
        "work_units": task.work_units,
        "price": task.price,
        "steps_total": task.steps_total,
        "replay_of": task.replay_of,
        "attempt": task.attempt,
        "fence": task.fence,
        "steps_done": task.steps_done,
        "created_at": task.created_at.timestamp(),
        "inference_ms": task.inference_ms,
        "outputs": write_outputs(task.outputs),
        "webhook": None if task.webhook is None else json.dumps(asdict(task.webhook)),
        "upload_url": task.upload_url,
        "lifetime_s": task.lifetime_s,
        "traceparent": task.traceparent,
        "start_before": None if task.start_before is None else task.start_before.timestamp(),
    }


def success_columns(success: Success) -> dict[str, Any]:
    """Name a good end's values as the statement that stores it does."""
    return {
        "this_outputs": write_outputs(success.outputs),
        "this_inference_ms": success.inference_ms,
        "this_device_s": success.device_s,
        "this_spent": write_spent(success.spent),
    }


def write_preview(preview: Preview) -> str:
    """Write a preview as its column."""
    return json.dumps(asdict(preview))


def read_preview(text: str) -> Preview:
    """Read a preview from its column."""
    return Preview(**json.loads(text))


def fault_columns(fault: Fault) -> dict[str, Any]:
    """Name a bad end's values as the statement that stores it does."""
    return {"this_fault_kind": fault.kind, "this_fault_message": storable(fault.message)}


def storable(text: str) -> str:
    """Escape what no database takes: half a surrogate pair, and the NUL that PostgreSQL refuses.

    Escaped and not replaced: an address with a backslash in it is taken for an address by nobody.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


def write_outputs(outputs: tuple[Output, ...]) -> str:
    """Write delivered pictures as JSON."""
    return json.dumps([_members(output) for output in outputs])


def _members(output: Output) -> dict[str, Any]:
    """Leave out a receipt and a verdict that there is not: a server that knows of none can read the rest."""
    absent = () if output.sent_status else ("sent_status", "sent_etag", "sent_at_s")
    if output.is_unsafe is None:
        absent = (*absent, "is_unsafe")
    return {name: value for name, value in asdict(output).items() if name not in absent}


def from_row(row: Row[Any]) -> Task:
    """Read a task from its row."""
    created_at = _moment(row.created_at)
    started_at = _moment_from(row.started_at, earliest=created_at)
    return Task(
        id=row.id,
        tenant_id=row.tenant_id,
        model=row.model,
        dialect=row.dialect,
        notes=MappingProxyType(json.loads(row.notes)),
        sinks=tuple(row.sink.split(",")),
        webhook=read_webhook(row.webhook),
        upload_url=row.upload_url,
        lifetime_s=row.lifetime_s,
        start_before=None if row.start_before is None else _moment(row.start_before),
        created_at=created_at,
        work_units=row.work_units,
        price=row.price,
        steps_total=row.steps_total,
        replay_of=row.replay_of,
        state=TaskState(row.state),
        attempt=row.attempt,
        fence=row.fence,
        steps_done=row.steps_done,
        started_at=started_at,
        finished_at=_moment_from(row.finished_at, earliest=started_at or created_at),
        inference_ms=row.inference_ms,
        outputs=tuple(Output(**output) for output in json.loads(row.outputs)),
        fault=_fault(row),
        spent=read_spent(row.spent),
        traceparent=row.traceparent,
    )


def read_webhook(text: str | None) -> Webhook | None:
    """Read whom to tell from its column."""
    return None if text is None else Webhook(**json.loads(text))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _moment_from(seconds: float | None, *, earliest: datetime) -> datetime | None:
    # A task is accepted by the clock of a process and started by the database's; where those two differ, a start before
    # the accept would give callers a negative wait.
    return None if seconds is None else max(_moment(seconds), earliest)


def _fault(row: Row[Any]) -> Fault | None:
    return None if row.fault_kind is None else Fault(kind=FaultKind(row.fault_kind), message=row.fault_message)
