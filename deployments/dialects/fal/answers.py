"""Writes tasks as fal does: a request in the queue, its state, its result, and the webhook about its end.

A failed or cancelled request is COMPLETED like any other; only its result tells. The packages know no other word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deployments.dialects.dialect import Call, Event, Letter, Reply
from deployments.dialects.fal.mistakes import LINE_CLOSED, Failure, failed_task, failure
from deployments.dialects.fal.places import QUEUE
from deployments.operations.outcome import TaskOutcome
from deployments.tasks.task import Output, Task, TaskState

REQUEST_ID_HEADER = "x-fal-request-id"

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def request_id_of(task_id: str) -> str:
    """Write a task's id as a UUID."""
    return "-".join((task_id[:8], task_id[8:12], task_id[12:16], task_id[16:20], task_id[20:]))


def task_id_of(request_id: str) -> str:
    """Read a request's id; what is none stays as it is, and is nobody's."""
    return request_id.replace("-", "").lower() if _UUID.fullmatch(request_id) else request_id


def shown_request_id(call: Call) -> str:
    """Return the id of the request that a call is about, or, where there is none, the one drawn for the call."""
    named = call.path_params.get("id", "")
    return named.lower() if _UUID.fullmatch(named) else call.fresh_uuid


def accepted(outcome: TaskOutcome, call: Call) -> Reply:
    """Write that a request was accepted."""
    request_id = request_id_of(outcome.task.id)
    body: dict[str, Any] = {
        "status": "IN_QUEUE",
        "request_id": request_id,
        "queue_position": outcome.place or 0,
        **_links(request_id, call.base_url),
        "gateway_request_id": request_id,
        "logs": None,
        "metrics": {},
    }
    return reply(200, body, request_id=request_id)


def status(outcome: TaskOutcome, call: Call) -> Reply:
    """Write the state of a request."""
    request_id = request_id_of(outcome.task.id)
    failed = failed_task(outcome.task, call.base_url)
    headers = {"X-Fal-Error-Type": failed.word} if failed is not None and failed.word else {}
    code = 200 if outcome.task.state.is_terminal else 202
    return reply(code, status_body(outcome, call), request_id=request_id, headers=headers)


def status_body(outcome: TaskOutcome, call: Call) -> Mapping[str, Any]:
    """Write the state of a request, as its status and its event stream have it."""
    task = outcome.task
    request_id = request_id_of(task.id)
    about = {"request_id": request_id, **_links(request_id, call.base_url)}
    # The Python package reads the place of a waiting request and the logs of any other without asking for them.
    match task.state:
        case TaskState.QUEUED:
            return {"status": "IN_QUEUE", **about, "queue_position": outcome.place or 0}
        case TaskState.RUNNING:
            return {"status": "IN_PROGRESS", **about, "logs": _logs(task, call)}
    ended = {"logs": _logs(task, call), "metrics": {"inference_time": task.inference_ms / 1000}}
    return {"status": "COMPLETED", **about, **ended, **_error(failed_task(task, call.base_url))}


def result(outcome: TaskOutcome, call: Call) -> Reply:
    """Write the result of a request that has ended, good or bad; or that it has not."""
    task = outcome.task
    request_id = request_id_of(task.id)
    if not task.state.is_terminal:
        return _unfinished(outcome, call)
    failed = failed_task(task, call.base_url)
    if failed is not None:
        return failure_reply(failed, request_id)
    return reply(200, _output(outcome), request_id=request_id)


def cancelled(outcome: TaskOutcome) -> Reply:
    """Write that a request will end, or that it had ended before."""
    request_id = request_id_of(outcome.task.id)
    if outcome.task.state.is_terminal and not outcome.is_ended_by_call:
        return reply(400, {"status": "ALREADY_COMPLETED"}, request_id=request_id)
    return reply(202, {"status": "CANCELLATION_REQUESTED"}, request_id=request_id)


def event_body(event: Event) -> bytes:
    """Write a webhook."""
    request_id = request_id_of(event.outcome.task.id)
    failed = failed_task(event.outcome.task, event.base_url)
    body = {
        "request_id": request_id,
        "gateway_request_id": request_id,
        "status": "OK" if failed is None else "ERROR",
        "error": None if failed is None else f"Invalid status code: {failed.status}",
        "payload": _output(event.outcome) if failed is None else failed.body,
    }
    return _written(body)


def signed_lines(letter: Letter, body_sha256: str) -> bytes:
    """Write what the signature of a webhook is made of."""
    lines = (request_id_of(letter.task_id), letter.tenant_id, str(letter.sent_at_s), body_sha256)
    return "\n".join(lines).encode()


def failure_reply(failed: Failure, request_id: str) -> Reply:
    """Write what went wrong."""
    return reply(failed.status, failed.body, request_id=request_id, headers=failed.headers)


def reply(code: int, body: Any, *, request_id: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Write an answer; the JavaScript package reads the request's id in its header and nowhere else."""
    return Reply(status=code, body=_written(body), headers={REQUEST_ID_HEADER: request_id, **(headers or {})})


def _unfinished(outcome: TaskOutcome, call: Call) -> Reply:
    request_id = request_id_of(outcome.task.id)
    if not outcome.gave_up_waiting:
        return reply(400, {"detail": "Request is still in progress"}, request_id=request_id)
    words = f"Request {request_id} takes longer than a connection is held; it goes on, and the queue tells its end"
    return failure_reply(failure(LINE_CLOSED, words, call.base_url), request_id)


def _links(request_id: str, base_url: str) -> Mapping[str, str]:
    link = f"{base_url}{QUEUE}/fal-ai/uso/requests/{request_id}"
    return {"response_url": link, "status_url": f"{link}/status", "cancel_url": f"{link}/cancel"}


def _error(failed: Failure | None) -> Mapping[str, Any]:
    if failed is None:
        return {}
    detail = failed.body["detail"]
    words = detail if isinstance(detail, str) else detail[0]["msg"]
    return {"error": words, "error_type": failed.word}


def _logs(task: Task, call: Call) -> list[Mapping[str, str]] | None:
    """Write what is known of a task's course, if the call asks for it: JavaScript says 1 and Python true."""
    if call.query.get("logs", "").lower() not in ("1", "true"):
        return None
    entries = []
    if task.started_at is not None:
        entries.append(_log("Started", task.started_at))
    if task.steps_done:
        seen_at = task.finished_at or datetime.fromtimestamp(call.now_s, UTC)
        entries.append(_log(f"{task.steps_done} of {task.steps_total} steps done", seen_at))
    return entries


def _log(message: str, moment: datetime) -> Mapping[str, str]:
    timestamp = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return {"message": message, "level": "INFO", "source": "USER", "timestamp": timestamp}


def _output(outcome: TaskOutcome) -> Mapping[str, Any]:
    task = outcome.task
    shown = list(zip(outcome.pictures, task.outputs, strict=False))
    images = [_image(picture, output, task, number) for number, (picture, output) in enumerate(shown)]
    return {
        "images": images,
        "seed": task.outputs[0].seed if task.outputs else 0,
        "has_nsfw_concepts": [bool(output.is_unsafe) for _, output in shown],
        "prompt": task.notes.get("prompt", ""),
        "timings": {"inference": task.inference_ms / 1000},
    }


def _image(picture: str, output: Output, task: Task, number: int) -> Mapping[str, Any]:
    is_inline = output.sink == "inline"
    made_name = f"{request_id_of(task.id)}-{number}.{output.content_type.rpartition('/')[2]}"
    return {
        "url": f"data:{output.content_type};base64,{picture}" if is_inline else picture,
        "content_type": output.content_type,
        "file_name": made_name if is_inline else output.value.rpartition("/")[2],
        "file_size": output.size_bytes,
        "width": output.width or int(task.notes.get("width", "0")),
        "height": output.height or int(task.notes.get("height", "0")),
    }


def _written(body: Any) -> bytes:
    return json.dumps(body).encode("ascii")
