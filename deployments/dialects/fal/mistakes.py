"""Writes what went wrong as fal does: a list that names fields, or a text with a type.

``MISTAKES`` is the whole mapping. Codes that fal's packages repeat by themselves (408, 409) are not among them.
Source: fal's pages on errors and the client packages fal-client 1.0.3, @fal-ai/client 1.10.1, seen 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from deployments import errors
from deployments.errors import BadCall, BadField, CallRefused, FaultKind, Problem
from deployments.tasks.task import Fault, Task, TaskState

#: Under which note a task keeps the mistakes that it was refused for.
DETAIL_NOTE = "detail"

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class MalformedCall(BadCall):
    """A header or a query parameter cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a kind of mistake is answered."""

    #: HTTP status.
    status: int
    #: fal's word for it, if it has one.
    word: str | None = None
    #: Whether it stands in a list that names fields.
    is_listed: bool = False
    #: Which part of the call is named where the mistake itself names none.
    place: tuple[str, ...] = ("body",)
    #: How its bound is named, if it passes one.
    bound: str | None = None
    #: What is said about it; the mistake's own words where this is None.
    words: str | None = None
    #: Headers besides that of the type.
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An answer that says what went wrong."""

    #: HTTP status.
    status: int
    #: The answer.
    body: Mapping[str, Any]
    #: fal's word for it, if it has one.
    word: str | None
    #: Headers.
    headers: Mapping[str, str]


def _listed(word: str, **rest: Any) -> Verdict:
    return Verdict(status=422, word=word, is_listed=True, **rest)


_REFERENCES = ("body", "input_image_urls")
#: With it neither package repeats a call that came too late.
_NO_REPEAT = MappingProxyType({"X-Fal-Request-Timeout-Type": "user"})

#: A request that was cancelled.
CANCELLED = Verdict(status=499, word="client_cancelled", words="Request was cancelled")
#: A caller who waits longer than the server holds a line.
LINE_CLOSED = Verdict(status=504, word="request_timeout", headers=_NO_REPEAT)

#: Every mistake: a field's, a call's or a task's.
MISTAKES: Mapping[Problem | type[CallRefused] | FaultKind, Verdict] = MappingProxyType(
    {
        Problem.MISSING: _listed("missing", words="Field required"),
        Problem.WRONG_TYPE: _listed("type_error"),
        Problem.TOO_SMALL: _listed("greater_than_equal", bound="ge", words="must be {bound} or more"),
        Problem.TOO_LARGE: _listed("less_than_equal", bound="le", words="must be {bound} or less"),
        Problem.NOT_A_CHOICE: _listed("one_of"),
        Problem.TOO_SHORT: _listed("string_too_short", bound="min_length"),
        Problem.TOO_LONG: _listed("string_too_long", bound="max_length"),
        Problem.TOO_FEW: _listed("sequence_too_short", bound="min_length", words="must have {bound} or more entries"),
        Problem.TOO_MANY: _listed("sequence_too_long", bound="max_length", words="must have {bound} or fewer entries"),
        Problem.BAD_ADDRESS: _listed("file_download_error"),
        Problem.BAD_FORM: _listed("string_pattern_mismatch"),
        Problem.UNKNOWN: _listed("extra_forbidden"),
        errors.NotJson: _listed("json_invalid"),
        errors.BadCall: _listed("value_error"),
        MalformedCall: Verdict(status=400, word="bad_request"),
        errors.CallbackRefused: Verdict(status=400, word="bad_request"),
        errors.Unauthenticated: Verdict(status=401),
        errors.BudgetExhausted: Verdict(status=403),
        errors.ModelNotAllowed: Verdict(status=403),
        errors.NotFound: Verdict(status=404),
        errors.MethodNotAllowed: Verdict(status=405),
        errors.BodyTooSlow: Verdict(status=400, word="bad_request"),
        errors.TargetRefused: Verdict(status=412),
        errors.BodyTooLarge: Verdict(status=413),
        errors.Overloaded: Verdict(status=429),
        errors.InternalFault: Verdict(status=500, word="internal_error"),
        errors.Unavailable: Verdict(status=503, word="runner_scheduling_failure"),
        errors.CallRefused: Verdict(status=400, word="bad_request"),
        FaultKind.REFUSED: _listed("value_error"),
        FaultKind.REFERENCE_UNREACHABLE: _listed("file_download_error", place=_REFERENCES),
        FaultKind.REFERENCE_UNUSABLE: _listed("image_load_error", place=_REFERENCES),
        FaultKind.UPLOAD_FAILED: Verdict(status=500, word="internal_error"),
        FaultKind.TOO_LATE: Verdict(status=504, word="request_timeout", words="Request timed out", headers=_NO_REPEAT),
        FaultKind.ENGINE_FAILED: Verdict(status=500, word="internal_server_error", is_listed=True),
        FaultKind.QUARANTINED: Verdict(status=500, word="runner_server_error"),
    }
)

#: fal's word for a value of another type, by the field that has it.
_TYPE_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "string_type",
        "negative_prompt": "string_type",
        "file_name": "string_type",
        "content_type": "string_type",
        "input_image_urls": "list_type",
        "width": "int_type",
        "height": "int_type",
        "num_inference_steps": "int_type",
        "num_images": "int_type",
        "seed": "int_type",
        "guidance_scale": "float_type",
        "keep_size": "bool_type",
        "sync_mode": "bool_type",
        "enable_safety_checker": "bool_type",
    }
)


def failed_call(refusal: CallRefused, base_url: str) -> Failure:
    """Write why a call was refused."""
    if isinstance(refusal, BadField):
        return _list_of(_entry(refusal, base_url))
    verdict = next(MISTAKES[kind] for kind in type(refusal).__mro__ if kind in MISTAKES)
    return failure(verdict, refusal.message, base_url)


def failed_task(task: Task, base_url: str) -> Failure | None:
    """Write why a task has no pictures; None where nothing is wrong with it, or nothing yet."""
    fault = task.fault
    if fault is not None and fault.kind is FaultKind.REFUSED:
        return _refused_task(task, fault, base_url)
    if fault is not None:
        return failure(MISTAKES[fault.kind], fault.message, base_url)
    return failure(CANCELLED, "", base_url) if task.state is TaskState.CANCELLED else None


def failure(verdict: Verdict, message: str, base_url: str) -> Failure:
    """Write a mistake that names no field of its own."""
    words = verdict.words or message
    if verdict.is_listed:
        entry = {"loc": list(verdict.place), "msg": words, "type": verdict.word, "url": _page(base_url, verdict.word)}
        return _list_of(entry, status=verdict.status)
    body = {"detail": words} if verdict.word is None else {"detail": words, "error_type": verdict.word}
    headers = {**verdict.headers, **_type_header(verdict.word)}
    return Failure(status=verdict.status, body=body, word=verdict.word, headers=headers)


def _refused_task(task: Task, fault: Fault, base_url: str) -> Failure:
    """Write what was written down when the call was refused."""
    noted = task.notes.get(DETAIL_NOTE)
    if noted is None:  # refused in another dialect
        return failure(MISTAKES[FaultKind.REFUSED], fault.message, base_url)
    return _list_of(*json.loads(noted))


def _list_of(*entries: Mapping[str, Any], status: int = 422) -> Failure:
    word = entries[0]["type"]
    return Failure(status=status, body={"detail": list(entries)}, word=word, headers=_type_header(word))


def _entry(mistake: BadField, base_url: str) -> Mapping[str, Any]:
    verdict = MISTAKES[mistake.problem]
    word = _word_of(mistake, verdict)
    words = mistake.message if verdict.words is None else verdict.words.format(bound=mistake.bound)
    entry: dict[str, Any] = {"loc": ["body", *mistake.field], "msg": words, "type": word, "url": _page(base_url, word)}
    if verdict.bound is not None and mistake.bound is not None:
        entry["ctx"] = {verdict.bound: mistake.bound}
    if mistake.given is not None:
        entry["input"] = mistake.given
    return entry


def _word_of(mistake: BadField, verdict: Verdict) -> str | None:
    if mistake.problem is not Problem.WRONG_TYPE or not mistake.field:
        return verdict.word
    last = mistake.field[-1]
    # All lists here are lists of texts.
    return "string_type" if isinstance(last, int) else _TYPE_WORDS.get(last, verdict.word)


def _page(base_url: str, word: str | None) -> str:
    return f"{base_url}/errors#{word}"


def _type_header(word: str | None) -> Mapping[str, str]:
    return _NO_HEADERS if word is None else {"X-Fal-Error-Type": word}
