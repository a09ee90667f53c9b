"""Tells the trace of a task what a replica did for it, once that is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deployments.clock import utc_now
from deployments.telemetry.laps import CHECK, DECODE_REFERENCES, DELIVER, ENCODE, FETCH
from deployments.telemetry.tracing import note_span
from models.resident import Stage

if TYPE_CHECKING:
    from deployments.replica.holding import Held

#: What is traced, by what it is called among laps, in the order in which it is done.
SPANS = {
    FETCH: "fetch",
    DECODE_REFERENCES: "decode_references",
    Stage.PREPARING: "prepare",
    Stage.STEPPING: "denoise",
    Stage.DECODING: "decode",
    CHECK: "check",
    ENCODE: "encode",
    DELIVER: "deliver",
}


def trace_task(held: Held) -> None:
    """Note a span for everything that was done; one that was done in turns lasts from its first to its last."""
    task = held.claim.task
    if task.traceparent is None or task.started_at is None:
        return
    named = {"uxo__task_id": task.id, "uxo__model": task.model, "uxo__attempt": str(task.attempt)}
    began_s, ended_s = task.created_at.timestamp(), task.started_at.timestamp()
    note_span("queue", task.traceparent, began_s=began_s, ended_s=ended_s, **named)
    since_s = utc_now().timestamp() - time.monotonic()  # when this clock was at 0, in seconds since 1970
    for lap, name in SPANS.items():
        done = held.laps.by_name.get(lap)
        if done is not None:
            began_s, ended_s = since_s + done.began_s, since_s + done.ended_s
            note_span(name, task.traceparent, began_s=began_s, ended_s=ended_s, **named)
