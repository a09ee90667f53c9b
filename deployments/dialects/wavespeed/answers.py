"""Writes what came of a call as the ``data`` of WaveSpeedAI's answers, and the answers themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from deployments.dialects.dialect import Call, Reply
from deployments.dialects.headers import retry_after
from deployments.dialects.wavespeed.submissions import WebhookWithBase64
from deployments.dialects.wavespeed.vocabulary import FAULT_CODES, STATUS, TIMED_OUT, VENDOR_NAMES
from deployments.errors import CallRefused
from deployments.operations.outcome import (
    Balance,
    Deleted,
    Granted,
    Kept,
    Listing,
    Outcome,
    Quoted,
    TaskOutcome,
    Told,
    WebhookSecret,
)
from deployments.tasks.task import Fault
from models.catalog import UNO, USO, ModelSpec

#: Dollars shown to a tenant whom nothing limits: the vendor has no word for that, and clients compare the number.
UNLIMITED_USD = 1_000_000.0
#: The route that deletes one task; it is answered otherwise than the one that deletes many.
DELETE_ONE = "delete_one"

_MICROS_PER_USD = 1_000_000
# The Python package runs a task again when its error reads like this, which would not help here.
_LOOKS_TRANSIENT = re.compile(r"HTTP (?=5|429)", re.ASCII | re.IGNORECASE)
_DESCRIPTIONS = MappingProxyType(
    {
        UNO.name: "Puts the subjects of one to four pictures into a new picture.",
        USO.name: "Draws a new picture in the style of one to four pictures.",
    }
)


def answer(outcome: Outcome, call: Call) -> Reply:
    """Write what came of a call; that a task failed is still a good answer."""
    write = _WRITERS[type(outcome)]
    return _reply(200, {"code": 200, "message": "success", "data": write(outcome, call)})


def refuse(refusal: CallRefused) -> Reply:
    """Write a refusal's status and words; the one about webhooks and base64 has them in ``error`` as well."""
    told: dict[str, Any] = {"code": refusal.http_status, "message": refusal.message}
    if isinstance(refusal, WebhookWithBase64):
        told["error"] = refusal.message
    return _reply(refusal.http_status, told, retry_after(refusal.retry_after_s))


def task_members(outcome: TaskOutcome, base_url: str) -> dict[str, Any]:
    """Write a task as the clients read it; ``base_url`` starts its link."""
    task = outcome.task
    status, code, error = _standing(outcome)
    return {
        "id": task.id,
        "model": VENDOR_NAMES.get(task.model, task.model),
        "outputs": list(outcome.pictures),
        "urls": {"get": f"{base_url}/api/v3/predictions/{task.id}/result"},
        "has_nsfw_contents": [bool(output.is_unsafe) for output in task.outputs],
        "status": status,
        "created_at": _timestamp(task.created_at),
        "error": error,
        "code": code,
        "timings": {"inference": task.inference_ms},
    }


def _standing(outcome: TaskOutcome) -> tuple[str, int, str]:
    """Return the status word, the code and the error text."""
    if outcome.gave_up_waiting:
        # The clients look for exactly these words and then tell their user the task's id.
        return "processing", TIMED_OUT, "Sync mode timed out; the task goes on and can be polled"
    fault = outcome.task.fault
    code, error = (0, "") if fault is None else (FAULT_CODES[fault.kind], _fault_text(fault))
    return STATUS[outcome.task.state], code, error


def _fault_text(fault: Fault) -> str:
    return _LOOKS_TRANSIENT.sub("status ", fault.message)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _task(outcome: TaskOutcome, call: Call) -> dict[str, Any]:
    return task_members(outcome, call.base_url)


def _deleted(outcome: Deleted, call: Call) -> dict[str, Any]:
    if call.route == DELETE_ONE:
        return {"id": call.path_params["id"], "status": "deleted"}
    return {"deleted_count": len(outcome.task_ids)}


def _page(outcome: Listing, call: Call) -> dict[str, Any]:
    items = [_task(each, call) for each in outcome.tasks]
    return {"page": outcome.page, "total": outcome.total, "items": items}


def _balance(outcome: Balance, _: Call) -> dict[str, Any]:
    left = UNLIMITED_USD if outcome.left is None else outcome.left / _MICROS_PER_USD
    return {"balance": left, "currency": "USD"}


def _price(outcome: Quoted, _: Call) -> dict[str, Any]:
    model_id = VENDOR_NAMES.get(outcome.model, outcome.model)
    return {"model_id": model_id, "unit_price": outcome.price / _MICROS_PER_USD, "currency": "USD"}


def _secret(outcome: WebhookSecret, _: Call) -> dict[str, Any]:
    return {"secret": outcome.secret}


def _kept(outcome: Kept, _: Call) -> dict[str, Any]:
    # The two addresses that take forms are documented with different members; either answer has them all.
    return {
        "type": "image",
        "download_url": outcome.url,
        "url": outcome.url,
        "filename": outcome.file_name,
        "size": outcome.size_bytes,
    }


def _granted(outcome: Granted, _: Call) -> dict[str, Any]:
    upload = {"method": "PUT", "url": outcome.put_url, "headers": {"Content-Type": outcome.content_type}}
    return {"upload": upload, "download_url": outcome.url}


def _models(_: Told, __: Call) -> list[dict[str, Any]]:
    return [_model(spec) for spec in (UNO, USO)]


def _model(spec: ModelSpec) -> dict[str, Any]:
    """Write a model as a list of models shows it.

    Source: WaveSpeedAI API reference, List Models, seen 2026-11.
    """
    return {
        "model_id": VENDOR_NAMES[spec.name],
        "name": VENDOR_NAMES[spec.name],
        # Of one picture of the default size, which is exactly a megapixel.
        "base_price": spec.price_per_megapixel / _MICROS_PER_USD,
        "description": _DESCRIPTIONS[spec.name],
        "type": "image-to-image",
    }


def _reply(status: int, told: Mapping[str, Any], headers: Mapping[str, str] = MappingProxyType({})) -> Reply:
    return Reply(status=status, body=json.dumps(told).encode("ascii"), headers=headers)


_WRITERS: Mapping[type, Callable[[Any, Call], Any]] = MappingProxyType(
    {
        TaskOutcome: _task,
        Deleted: _deleted,
        Listing: _page,
        Balance: _balance,
        Quoted: _price,
        WebhookSecret: _secret,
        Kept: _kept,
        Granted: _granted,
        Told: _models,
    }
)
