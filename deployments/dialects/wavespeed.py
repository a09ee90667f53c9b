"""WaveSpeedAI's v3 language: submit a task, poll it, or hold the line until it ends.

Every answer is ``{"code", "message", "data"}``; a refusal has no ``data``, a failed task is answered with HTTP 200.
Source: WaveSpeedAI API reference and the client packages wavespeed 2.0.5 (Python) and 0.3.2 (JavaScript), seen 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from deployments.dialects.dialect import Call, Reply, Route
from deployments.dialects.fields import Fields
from deployments.errors import BadCall, CallRefused, FaultKind, Unauthenticated
from deployments.json_body import read_object
from deployments.operations import Operation, Outcome, Read, Submit
from deployments.tasks.task import Fault, TaskState
from models.catalog import SIZE_PRESETS, UNO, USO
from models.request import GenerationRequest, ImageFormat, Reference, Role

#: Longest prompt in bytes of UTF-8; the text encoders read a few hundred words of it.
MAX_PROMPT_BYTES = 24 * 1024
#: Largest seed a caller may choose.
MAX_SEED = 2**31 - 1
#: Longest address of a webhook in bytes.
MAX_WEBHOOK_BYTES = 8 * 1024

_OUTPUT_FORMATS = MappingProxyType({"jpeg": ImageFormat.JPEG, "png": ImageFormat.PNG})
_SYNC_SWITCHES = ("enable_sync_mode", "sync_mode", "sync_model")
_REFERENCE_SCHEME = re.compile(r"(?:https?://|data:)", re.ASCII | re.IGNORECASE)
_WEBHOOK_SCHEME = re.compile(r"https?://", re.ASCII | re.IGNORECASE)
_BEARER = re.compile(r"bearer +(?P<key>\S+) *", re.ASCII | re.IGNORECASE)
# The Python package runs a task again when its error reads like this, which would not help here.
_LOOKS_TRANSIENT = re.compile(r"HTTP (?=5|429)", re.ASCII | re.IGNORECASE)

_VENDOR_NAMES = MappingProxyType({UNO.name: "wavespeed-ai/uno", USO.name: "bytedance/uso"})
#: The clients keep polling on any word they do not know, so there must be no others.
_STATUS = MappingProxyType(
    {
        TaskState.QUEUED: "created",
        TaskState.RUNNING: "processing",
        TaskState.SUCCEEDED: "completed",
        TaskState.FAILED: "failed",
        TaskState.CANCELLED: "cancelled",
    }
)
_FAULT_CODES = MappingProxyType(
    {FaultKind.REFERENCE_UNUSABLE: 1402, FaultKind.ENGINE_FAILED: 5000, FaultKind.QUARANTINED: 1403}
)
_SYNC_TIMED_OUT = 5004
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class WebhookWithBase64(BadCall):
    """A webhook cannot be combined with enable_base64_output."""


class WaveSpeed:
    """WaveSpeedAI v3."""

    name: str = "wavespeed"
    roots: Sequence[str] = ("/api/v3",)
    routes: Sequence[Route] = (
        Route(method="POST", path="/api/v3/wavespeed-ai/uno", name="submit_uno"),
        Route(method="POST", path="/api/v3/bytedance/uso", name="submit_uso"),
        Route(method="GET", path="/api/v3/predictions/{id}/result", name="result"),
        Route(method="GET", path="/api/v3/predictions/{id}", name="result"),
    )

    def api_key(self, call: Call) -> str:
        """Return the bearer key of the ``Authorization`` header."""
        shown = _BEARER.fullmatch(call.headers.get("authorization", ""))
        if shown is None:
            raise Unauthenticated
        return shown["key"]

    def parse(self, route: Route, call: Call) -> Operation:
        """Read a submission, or which task to look at."""
        match route.name:
            case "submit_uno":
                return _submit(_uno_request, call)
            case "submit_uso":
                return _submit(_uso_request, call)
        return Read(task_id=call.path_params["id"])

    def render(self, outcome: Outcome, call: Call) -> Reply:
        """Write the task as it is; that a task failed is still a good answer."""
        return _reply(200, {"code": 200, "message": "success", "data": _task_fields(outcome, call)})

    def render_refusal(self, refusal: CallRefused, call: Call) -> Reply:  # noqa: ARG002 -- the protocol's argument
        """Write the refusal's status and words; the one about webhooks and base64 has them in ``error`` as well."""
        answer: dict[str, Any] = {"code": refusal.http_status, "message": refusal.message}
        if isinstance(refusal, WebhookWithBase64):
            answer["error"] = refusal.message
        wait_s = refusal.retry_after_s
        headers = {} if wait_s is None else {"Retry-After": str(wait_s)}
        return _reply(refusal.http_status, answer, headers)


def _submit(read_request: Callable[[Fields, int], GenerationRequest], call: Call) -> Submit:
    fields = Fields(read_object(call.body))
    request = read_request(fields, call.fresh_seed)
    switches = [fields.switch(name) for name in _SYNC_SWITCHES]
    wants_base64 = fields.switch("enable_base64_output")
    _refuse_webhook(fields, call, wants_base64=wants_base64)
    return Submit(
        request=request,
        dialect=WaveSpeed.name,
        sink="inline" if wants_base64 else "files",
        wait=any(switches),
    )


def _uno_request(fields: Fields, fresh_seed: int) -> GenerationRequest:
    width, height = fields.choice("image_size", default="square_hd", among=SIZE_PRESETS)
    return GenerationRequest(
        model=UNO.name,
        references=_references(fields, "images", Role.SUBJECT),
        prompt=fields.text("prompt", max_bytes=MAX_PROMPT_BYTES),
        width=width,
        height=height,
        num_images=fields.whole("num_images", default=1, low=1, high=4),
        num_inference_steps=fields.whole("num_inference_steps", default=28, low=1, high=50),
        guidance_scale=fields.number("guidance_scale", default=3.5, low=1, high=20),
        seed=_seed(fields, fresh_seed),
        output_format=fields.choice("output_format", default="jpeg", among=_OUTPUT_FORMATS),
    )


def _uso_request(fields: Fields, fresh_seed: int) -> GenerationRequest:
    width, height = SIZE_PRESETS["square_hd"]
    return GenerationRequest(
        model=USO.name,
        references=_references(fields, "reference_images", Role.STYLE),
        prompt=fields.text("prompt", default="", max_bytes=MAX_PROMPT_BYTES),
        width=width,
        height=height,
        guidance_scale=4.0,
        seed=_seed(fields, fresh_seed),
    )


def _references(fields: Fields, name: str, role: Role) -> tuple[Reference, ...]:
    sources = fields.texts(name, low=1, high=4)
    for index, source in enumerate(sources):
        if not _REFERENCE_SCHEME.match(source):
            raise BadCall(f"{name}[{index}] must be an http, https or data URL")
    return tuple(Reference(role=role, source=source) for source in sources)


def _seed(fields: Fields, fresh_seed: int) -> int:
    seed = fields.whole("seed", default=-1, low=-1, high=MAX_SEED)
    return fresh_seed if seed == -1 else seed


def _refuse_webhook(fields: Fields, call: Call, *, wants_base64: bool) -> None:
    """Refuse a call that asks for a webhook: none is sent yet, and a caller must not wait for one in vain."""
    url = call.query.get("webhook") or fields.text("webhook_url", default="", max_bytes=MAX_WEBHOOK_BYTES)
    if not url:
        return
    if not _WEBHOOK_SCHEME.match(url):
        raise BadCall("webhook must be an http or https URL")
    if wants_base64:
        raise WebhookWithBase64
    raise BadCall("webhook is not available on this server yet; leave it out and poll the result")


def _task_fields(outcome: Outcome, call: Call) -> dict[str, Any]:
    task = outcome.task
    status, code, error = _standing(outcome)
    return {
        "id": task.id,
        "model": _VENDOR_NAMES.get(task.model, task.model),
        "outputs": list(outcome.pictures),
        "urls": {"get": f"{call.base_url}/api/v3/predictions/{task.id}/result"},
        "has_nsfw_contents": [False] * len(outcome.pictures),
        "status": status,
        "created_at": _timestamp(task.created_at),
        "error": error,
        "code": code,
        "timings": {"inference": task.inference_ms},
    }


def _standing(outcome: Outcome) -> tuple[str, int, str]:
    """Return the status word, the code and the error text."""
    if outcome.gave_up_waiting:
        # The clients look for exactly these words and then tell their user the task's id.
        return "processing", _SYNC_TIMED_OUT, "Sync mode timed out; the task goes on and can be polled"
    fault = outcome.task.fault
    code, error = (0, "") if fault is None else (_FAULT_CODES[fault.kind], _fault_text(fault))
    return _STATUS[outcome.task.state], code, error


def _fault_text(fault: Fault) -> str:
    return _LOOKS_TRANSIENT.sub("status ", fault.message)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _reply(status: int, answer: Mapping[str, Any], headers: Mapping[str, str] = _NO_HEADERS) -> Reply:
    return Reply(status=status, body=json.dumps(answer).encode("ascii"), headers=headers)
