"""Writes what is told without being asked: webhooks, and the events of a task that somebody follows.

The event stream is ours: WaveSpeedAI documents none. Its events count in the house's words, and end with the
vendor's task.

    event: state      queued, or running without a step
    event: progress   running, further than at the event before; with a preview where the operator has them made
    event: result     the end, with the whole task; the last one
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployments.dialects.dialect import Call, Event, Letter
from deployments.dialects.wavespeed.answers import task_members
from deployments.operations.outcome import TaskOutcome
from deployments.tasks.task import Task, TaskState

if TYPE_CHECKING:
    from deployments.tenants.webhook_keys import WebhookSigner


def webhook_body(event: Event) -> bytes:
    """Write the ended task with what its caller had sent; nothing for a cancelled one, of which nobody is told."""
    outcome = event.outcome
    if outcome.task.state is TaskState.CANCELLED:
        return b""
    sent = json.loads(outcome.body) if outcome.body is not None else {}
    return json.dumps(task_members(outcome, event.base_url) | {"input": sent}).encode("ascii")


def webhook_headers(letter: Letter, signer: WebhookSigner) -> Mapping[str, str]:
    """Sign a webhook with its tenant's secret.

    Source: WaveSpeedAI API reference, webhooks, signature version v3, seen 2026-11.
    """
    message = f"{letter.event_id}.{letter.sent_at_s}.".encode() + letter.body
    return {
        "webhook-id": letter.event_id,
        "webhook-timestamp": str(letter.sent_at_s),
        "webhook-signature": f"v3,{signer.hmac_sha256(letter.tenant_id, message)}",
    }


def progress(outcome: TaskOutcome, call: Call) -> str:
    """Write how far a task has come; nothing for a follower who comes back and has heard it already."""
    task = outcome.task
    event_id = f"{task.fence}.{task.steps_done}.{task.state}"
    if call.headers.get("last-event-id") == event_id:
        return ""
    told: dict[str, Any] = {
        "state": task.state,
        "steps_done": task.steps_done,
        "steps_total": task.steps_total,
    }
    if outcome.preview is not None:
        told["preview"] = {
            "picture": outcome.preview.picture,
            "steps_done": outcome.preview.steps_done,
            "image": f"data:image/jpeg;base64,{outcome.preview.jpeg}",
        }
    if task.state.is_terminal:
        told["task"] = task_members(outcome, call.base_url)
    return f"event: {_kind(task)}\nid: {event_id}\ndata: {json.dumps(told)}\n\n"


def _kind(task: Task) -> str:
    if task.state.is_terminal:
        return "result"
    has_steps = task.state is TaskState.RUNNING and task.steps_done > 0
    return "progress" if has_steps else "state"
