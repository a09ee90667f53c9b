"""How a task is shown to an operator: as a row of a list, as a page of its own, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployments.commands.words import age, dollars, in_dollars
from deployments.tasks.waterfall import last_start, waterfall_of

if TYPE_CHECKING:
    from deployments.tasks.overview import TaskLine, TaskRecord
    from deployments.tasks.task import Output, Task
    from models.request import GenerationRequest


#: Characters of the bar of a part that took all the time.
BAR_WIDTH = 40


def line_row(line: TaskLine) -> tuple[object, ...]:
    """Write a task as the row of a list."""
    return (
        line.id,
        line.tenant_id,
        line.model,
        line.state,
        f"{line.steps_done}/{line.steps_total}",
        line.attempt,
        _ago(line.created_at, line.seen_at),
        _ago(line.finished_at, line.seen_at),
        line.fault_kind,
    )


def line_fields(line: TaskLine) -> dict[str, object]:
    """Write a task of a list for scripts."""
    return {
        "task": line.id,
        "tenant": line.tenant_id,
        "model": line.model,
        "state": line.state,
        "attempt": line.attempt,
        "steps_done": line.steps_done,
        "steps_total": line.steps_total,
        "price_usd": in_dollars(line.price),
        "created_at": line.created_at,
        "finished_at": line.finished_at,
        "fault": line.fault_kind,
    }


def record_rows(record: TaskRecord) -> list[tuple[str, object]]:
    """Write all that is known of a task, a line each; what it does not have is left out."""
    return [(name, value) for name, value in _lines(record) if value is not None]


def record_fields(record: TaskRecord) -> dict[str, object]:
    """Write all that is known of a task for scripts."""
    task = record.task
    return {
        "task": task.id,
        "tenant": task.tenant_id,
        "model": task.model,
        "dialect": task.dialect,
        "state": task.state,
        "attempt": task.attempt,
        "steps_done": task.steps_done,
        "steps_total": task.steps_total,
        "work_units": task.work_units,
        "price_usd": in_dollars(task.price),
        "charged_usd": in_dollars(record.charged),
        "created_at": task.created_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "inference_ms": task.inference_ms,
        "seconds": waterfall_of(task),
        "claimed_by": record.claimed_by,
        "lease_expires_at": record.lease_expires_at,
        "fault": task.fault and {"kind": task.fault.kind, "message": task.fault.message},
        "pictures": [_picture_fields(one) for one in task.outputs],
        "replay_of": task.replay_of,
        "replays": record.replays,
        "request": record.request and _request_fields(record.request),
    }


def _lines(record: TaskRecord) -> Iterator[tuple[str, object]]:
    task, seen_at, started_at = record.task, record.seen_at, last_start(record.task)
    yield "task", task.id
    yield "tenant", task.tenant_id
    yield "model", f"{task.model}, asked for in {task.dialect}"
    yield "state", task.state
    yield "fault", task.fault and f"{task.fault.kind}: {task.fault.message}"
    yield "attempt", task.attempt
    yield "claimed by", record.claimed_by
    yield "lease ends in", record.lease_expires_at and _between(seen_at, record.lease_expires_at)
    yield "steps", f"{task.steps_done} of {task.steps_total}, {task.work_units:,.1f} work units"
    yield "accepted", _ago(task.created_at, seen_at)
    yield "waited", _between(task.created_at, started_at or task.finished_at or seen_at)
    yield "ran", started_at and _between(started_at, task.finished_at or seen_at)
    yield "ended", _ago(task.finished_at, seen_at)
    yield from _waterfall_lines(task)
    yield "price", dollars(task.price)
    yield "charged", dollars(record.charged) if task.state.is_terminal else None
    yield "pictures", len(task.outputs) or None
    yield from _receipt_lines(task, seen_at)
    yield "replay of", task.replay_of
    yield "replayed as", ", ".join(record.replays) or None
    yield from _request_lines(record.request)


def _waterfall_lines(task: Task) -> Iterator[tuple[str, object]]:
    parts = waterfall_of(task)
    whole_s = sum(parts.values())
    for part, seconds in parts.items():
        share = seconds / whole_s if whole_s else 0.0
        yield f"  {part}", f"{seconds:10.3f} s {share:4.0%}  {'█' * max(round(share * BAR_WIDTH), 1)}"


def _receipt_lines(task: Task, seen_at: datetime) -> Iterator[tuple[str, object]]:
    # Every sink that has a picture has its receipt as well; one of them is enough.
    for number, one in enumerate(task.outputs[:: len(task.sinks)], 1):
        if one.sent_status:
            etag = f", ETag {one.sent_etag}" if one.sent_etag else ""
            when = _ago(datetime.fromtimestamp(one.sent_at_s, UTC), seen_at)
            yield "receipt", f"picture {number}: {one.sent_status}{etag}, {when}"


def _request_lines(request: GenerationRequest | None) -> Iterator[tuple[str, object]]:
    if request is None:
        yield "request", "forgotten"
        return
    yield "prompt", request.prompt
    for each in request.references:
        yield f"{each.role} reference", each.source
    yield "size", f"{request.num_images} x {request.width}x{request.height} {request.output_format}"
    steps = f"{request.num_inference_steps} steps"
    yield "drawn with", f"{steps}, guidance {request.guidance_scale:g}, seed {request.seed}"


def _picture_fields(output: Output) -> dict[str, object]:
    told: dict[str, object] = {"sink": output.sink, "size_bytes": output.size_bytes, "seed": output.seed}
    if not output.sent_status:
        return told
    sent_at = datetime.fromtimestamp(output.sent_at_s, UTC)
    return told | {"receipt": {"status": output.sent_status, "etag": output.sent_etag, "at": sent_at}}


def _request_fields(request: GenerationRequest) -> dict[str, object]:
    return {
        "prompt": request.prompt,
        "references": [{"role": each.role, "source": each.source} for each in request.references],
        "width": request.width,
        "height": request.height,
        "num_images": request.num_images,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "seed": request.seed,
        "output_format": request.output_format,
    }


def _ago(moment: datetime | None, seen_at: datetime) -> str | None:
    return None if moment is None else f"{_between(moment, seen_at)} ago"


def _between(start: datetime, end: datetime) -> str | None:
    return age((end - start).total_seconds())
