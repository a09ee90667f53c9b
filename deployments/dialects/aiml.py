"""AIML's language, which is OpenAI's with fields of its own: one call that blocks until the pictures are there.

It knows no ids and no polling: a task that failed is an HTTP error, and a caller who hangs up ends the task. What an
answer repeats of the call (prompt, size) travels in the task's notes, for the body is gone by then.
Source: AIML API reference, page of bytedance/uso, and the openai packages 3.52.0 (Python) and 6.49.0 (JavaScript),
seen 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from deployments.dialects.dialect import Call, Reply, Route
from deployments.dialects.fields import Fields
from deployments.dialects.headers import authorization_key, retry_after
from deployments.errors import (
    BadCall,
    BadField,
    BudgetExhausted,
    CallRefused,
    FaultKind,
    KeyReused,
    MethodNotAllowed,
    ModelNotAllowed,
    NotFound,
    Overloaded,
    Problem,
    Unauthenticated,
)
from deployments.json_body import read_object
from deployments.operations.operation import Operation, Submit
from deployments.operations.outcome import Outcome, TaskOutcome
from deployments.tasks.task import Fault, TaskState
from models.catalog import MAX_IMAGES, MAX_SIDE, MIN_SIDE, SIZE_PRESETS, USO
from models.request import GenerationRequest, ImageFormat, Reference, Role, Safety

#: The only model of this dialect.
MODEL = "bytedance/uso"
#: Longest prompt in characters.
MAX_PROMPT = 4000
#: Longest negative prompt in bytes of UTF-8; the text encoders read a few hundred words of it.
MAX_NEGATIVE_PROMPT_BYTES = 24 * 1024
#: Largest seed: the seeds of the further pictures have to fit into 64 bits as well.
MAX_SEED = 2**63 - 1 - MAX_IMAGES
#: What a millionth of a dollar is worth. Source: AIML FAQ, "How are real payments converted into usage credits",
#: 2 000 000 credits a dollar, seen 2026-11.
CREDITS_PER_MICRODOLLAR = 2

_SAFETY = MappingProxyType({True: Safety.COVER, False: Safety.SKIP})
_OUTPUT_FORMATS = MappingProxyType({"jpeg": ImageFormat.JPEG, "png": ImageFormat.PNG})
_RESPONSE_FORMATS = MappingProxyType({"url": "", "b64_json": "b64_json"})
#: What each reference is for, in their order.
_ROLES = (Role.CONTENT, Role.STYLE, Role.STYLE)
_REFERENCE_SCHEME = re.compile(r"(?:https?://|data:)", re.ASCII | re.IGNORECASE)
_OPENAI_SIZE = re.compile(r"(?P<width>\d{1,5})x(?P<height>\d{1,5})", re.ASCII)
_BODY_IS_WRONG = "Body validation error!"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
# The clients send a call again by themselves after any 5xx, which here would be a second task with the same end.
_DO_NOT_REPEAT = MappingProxyType({"x-should-retry": "false"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mistake:
    """An error as it goes over the wire."""

    #: HTTP status.
    status: int
    #: OpenAI's word for its kind.
    type: str
    #: What a program can tell it by.
    code: str | None = None


_BAD_REQUEST = _Mistake(status=400, type="invalid_request_error")
_SERVER_ERROR = _Mistake(status=500, type="server_error", code="internal_error")
#: The nearest class in a refusal's ancestry counts; what is not here keeps its own status as ours or the caller's.
_REFUSALS: Mapping[type, _Mistake] = MappingProxyType(
    {
        BadCall: _BAD_REQUEST,
        KeyReused: _Mistake(status=400, type="invalid_request_error", code="idempotency_key_reused"),
        Unauthenticated: _Mistake(status=401, type="invalid_request_error", code="invalid_api_key"),
        BudgetExhausted: _Mistake(status=403, type="insufficient_quota", code="insufficient_quota"),
        ModelNotAllowed: _Mistake(status=403, type="invalid_request_error", code="model_not_allowed"),
        NotFound: _Mistake(status=404, type="invalid_request_error", code="not_found"),
        MethodNotAllowed: _Mistake(status=405, type="invalid_request_error", code="method_not_allowed"),
        Overloaded: _Mistake(status=429, type="rate_limit_error", code="rate_limit_exceeded"),
    }
)
#: What is not here is the engine's.
_FAULTS: Mapping[FaultKind, _Mistake] = MappingProxyType(
    {
        FaultKind.REFUSED: _BAD_REQUEST,
        FaultKind.REFERENCE_UNREACHABLE: _Mistake(status=400, type="invalid_request_error", code="image_unreachable"),
        FaultKind.REFERENCE_UNUSABLE: _Mistake(status=400, type="invalid_request_error", code="image_unusable"),
    }
)
_UNKNOWN_FAULT = Fault(kind=FaultKind.ENGINE_FAILED, message="The generation failed")
_ENGINE_FAILED = _Mistake(status=500, type="server_error", code="generation_failed")
# Only an operator or a caller who is gone can cancel here, so to whoever still reads it, it is the server's trouble.
_CANCELLED = _Mistake(status=503, type="server_error", code="cancelled")
_TIMED_OUT = _Mistake(status=504, type="server_error", code="timeout")


class Aiml:
    """AIML's images API."""

    name: str = "aiml"
    roots: Sequence[str] = ("/v1/images",)
    routes: Sequence[Route] = (Route(method="POST", path="/v1/images/generations", name="generate"),)

    def api_key(self, call: Call) -> str:
        """Return the bearer key of the ``Authorization`` header."""
        return authorization_key(call)

    def parse(self, route: Route, call: Call) -> Operation:  # noqa: ARG002 -- the protocol's argument
        """Read the one thing that can be asked for: pictures."""
        fields = Fields(read_object(call.body))
        _refuse_stream(fields)
        request = _request(fields, call.fresh_seed)
        inline = _inline(fields)
        return Submit(
            request=request,
            dialect=self.name,
            sinks=("inline",) if inline else ("files",),
            notes=_notes(request, inline),
            wait=True,
            cancel_with_caller=True,
            cancel_when_given_up=True,
        )

    def render(self, outcome: Outcome, call: Call) -> Reply:
        """Write the pictures, or as an HTTP error why there are none."""
        if not isinstance(outcome, TaskOutcome):
            raise TypeError(f"{type(outcome).__name__} is no answer to anything that is asked here")
        match outcome.task.state:
            case TaskState.SUCCEEDED:
                return _reply(201, _answer(outcome))
            case TaskState.FAILED:
                return _failure(outcome, call)
            case TaskState.CANCELLED if not outcome.gave_up_waiting:
                return _error(_CANCELLED, "The generation was cancelled", call, headers=_DO_NOT_REPEAT)
        return _error(_TIMED_OUT, "The generation took too long", call, headers=_DO_NOT_REPEAT)

    def render_refusal(self, refusal: CallRefused, call: Call) -> Reply:
        """Write the refusal in AIML's flat shape and in OpenAI's ``error`` object beside it."""
        fields = (_wrong_field(refusal),) if isinstance(refusal, BadField) else ()
        headers = retry_after(refusal.retry_after_s)
        return _error(_mistake(refusal), _words(refusal), call, fields=fields, headers=headers)


def _refuse_stream(fields: Fields) -> None:
    if fields.switch("stream"):
        fields.refuse("stream", "must be false: pictures are not streamed here", Problem.NOT_A_CHOICE)


def _request(fields: Fields, fresh_seed: int) -> GenerationRequest:
    _check_model(fields)
    prompt = fields.sentence("prompt", high=MAX_PROMPT)
    references = _references(fields)
    width, height = _size(fields)
    return GenerationRequest(
        model=USO.name,
        prompt=prompt,
        references=references,
        width=width,
        height=height,
        keep_size=fields.switch("keep_size"),
        num_images=_count(fields),
        num_inference_steps=fields.whole("num_inference_steps", default=28, low=1, high=50),
        guidance_scale=fields.number("guidance_scale", default=4.0, low=1, high=20),
        seed=fields.whole("seed", default=fresh_seed, low=1, high=MAX_SEED),
        output_format=fields.choice("output_format", default="png", among=_OUTPUT_FORMATS),
        negative_prompt=fields.text("negative_prompt", default="", max_bytes=MAX_NEGATIVE_PROMPT_BYTES),
        safety=_SAFETY[fields.switch("enable_safety_checker", default=True)],
    )


def _check_model(fields: Fields) -> None:
    if not fields.has("model"):
        fields.refuse("model", "is required", Problem.MISSING)
    if fields.raw("model") != MODEL:
        fields.refuse("model", f"must be {MODEL}", Problem.NOT_A_CHOICE)


def _references(fields: Fields) -> tuple[Reference, ...]:
    sources = fields.texts("image_urls", low=1, high=len(_ROLES))
    for index, source in enumerate(sources):
        if not _REFERENCE_SCHEME.match(source):
            fields.refuse_entry("image_urls", index, "must be an http, https or data URL", Problem.BAD_ADDRESS)
    return tuple(Reference(role=role, source=source) for role, source in zip(_ROLES, sources, strict=False))


def _size(fields: Fields) -> tuple[int, int]:
    """Return width and height; OpenAI's ``size`` counts where ``image_size`` is not given."""
    if isinstance(fields.raw("image_size"), dict):
        return _own_size(fields.fields("image_size"))
    if fields.has("size") and not fields.has("image_size"):
        return _openai_size(fields)
    return fields.choice("image_size", default="square_hd", among=SIZE_PRESETS)


def _own_size(sides: Fields) -> tuple[int, int]:
    width = sides.whole("width", default=None, low=MIN_SIDE, high=MAX_SIDE, is_lax=True)
    return width, sides.whole("height", default=None, low=MIN_SIDE, high=MAX_SIDE, is_lax=True)


def _openai_size(fields: Fields) -> tuple[int, int]:
    if fields.raw("size") == "auto":
        return SIZE_PRESETS["square_hd"]
    sides = fields.matching("size", _OPENAI_SIZE, form="auto or like 512x512")
    width, height = (int(side) for side in sides.split("x"))
    for side in (width, height):
        if not MIN_SIDE <= side <= MAX_SIDE:
            problem = Problem.TOO_SMALL if side < MIN_SIDE else Problem.TOO_LARGE
            fields.refuse("size", f"must have sides between {MIN_SIDE} and {MAX_SIDE}", problem)
    return width, height


def _count(fields: Fields) -> int:
    """Return how many pictures; the page calls it a number, so 2.0 counts as 2."""
    name = "n" if fields.has("n") and not fields.has("num_images") else "num_images"
    return fields.whole(name, default=1, low=1, high=4, is_lax=True)


def _inline(fields: Fields) -> str:
    """Return which member holds the picture itself, empty for a link; ``sync_mode`` fills both and so goes first."""
    response_format = fields.choice("response_format", default="url", among=_RESPONSE_FORMATS)
    return "both" if fields.switch("sync_mode") else response_format


def _notes(request: GenerationRequest, inline: str) -> dict[str, str]:
    notes = {"prompt": request.prompt}
    if inline:
        notes["inline"] = inline
    if not request.keep_size:
        notes |= {"width": str(request.width), "height": str(request.height)}
    return notes


def _answer(outcome: TaskOutcome) -> dict[str, Any]:
    task = outcome.task
    pictures = _pictures(outcome)
    credits_used = task.price * CREDITS_PER_MICRODOLLAR
    return {
        "created": int(task.created_at.timestamp()),
        "images": pictures,
        "data": pictures,
        "seed": task.outputs[0].seed if task.outputs else 0,
        "has_nsfw_concepts": [bool(output.is_unsafe) for output in task.outputs],
        "prompt": task.notes.get("prompt", ""),
        "timings": {"inference": task.inference_ms / 1000},
        "meta": {"usage": {"tokens_used": credits_used, "credits_used": credits_used}},
    }


def _pictures(outcome: TaskOutcome) -> list[dict[str, Any]]:
    task = outcome.task
    shown = zip(outcome.pictures, task.outputs, strict=True)
    return [_picture(value, output.content_type, task.notes) for value, output in shown]


def _picture(value: str, content_type: str, notes: Mapping[str, str]) -> dict[str, Any]:
    return {
        **_whereabouts(value, content_type, notes.get("inline", "")),
        "content_type": content_type,
        "file_name": None,
        "file_size": None,
        "width": _side(notes, "width"),
        "height": _side(notes, "height"),
    }


def _whereabouts(value: str, content_type: str, inline: str) -> dict[str, Any]:
    if not inline:
        return {"url": value}
    url = f"data:{content_type};base64,{value}" if inline == "both" else None
    return {"url": url, "b64_json": value}


def _side(notes: Mapping[str, str], name: str) -> int | None:
    """Return a side in pixels; with ``keep_size`` it is the first reference's, which is not known here."""
    return int(notes[name]) if name in notes else None


def _failure(outcome: TaskOutcome, call: Call) -> Reply:
    fault = outcome.task.fault or _UNKNOWN_FAULT
    mistake = _FAULTS.get(fault.kind, _ENGINE_FAILED)
    is_ours = mistake is _ENGINE_FAILED
    fields = () if is_ours or mistake is _BAD_REQUEST else ((("image_urls",), fault.message),)
    return _error(mistake, fault.message, call, fields=fields, headers=_DO_NOT_REPEAT if is_ours else _NO_HEADERS)


def _mistake(refusal: CallRefused) -> _Mistake:
    for kind in type(refusal).__mro__:
        if kind in _REFUSALS:
            return _REFUSALS[kind]
    kind_of_trouble = _SERVER_ERROR if refusal.http_status >= 500 else _BAD_REQUEST
    return _Mistake(status=refusal.http_status, type=kind_of_trouble.type, code=kind_of_trouble.code)


def _words(refusal: CallRefused) -> str:
    is_about_body = isinstance(refusal, BadCall) and not isinstance(refusal, KeyReused)
    return f"{_BODY_IS_WRONG} {refusal.message}" if is_about_body else refusal.message


def _wrong_field(refusal: BadField) -> tuple[tuple[str | int, ...], str]:
    return refusal.field, refusal.message


def _error(
    mistake: _Mistake,
    message: str,
    call: Call,
    *,
    fields: Sequence[tuple[tuple[str | int, ...], str]] = (),
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Reply:
    """Write an error twice over: Python's package shows the outer message, JavaScript's only the inner one."""
    param = ".".join(map(str, fields[0][0])) if fields else None
    answer = {
        "message": message,
        "path": call.path,
        "requestId": call.fresh_uuid,
        "statusCode": mistake.status,
        "timestamp": _timestamp(call.now_s),
        "error": {"message": message, "type": mistake.type, "param": param, "code": mistake.code},
    }
    if fields:
        answer["errors"] = [{"path": list(path), "message": words} for path, words in fields]
    return _reply(mistake.status, answer, headers)


def _timestamp(now_s: float) -> str:
    moment = datetime.fromtimestamp(now_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _reply(status: int, answer: Mapping[str, Any], headers: Mapping[str, str] = _NO_HEADERS) -> Reply:
    return Reply(status=status, body=json.dumps(answer).encode("ascii"), headers=headers)
