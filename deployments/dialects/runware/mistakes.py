"""How every refusal and every failed task looks in this language: one table, and how a row of it is written.

A program looks at ``code`` alone, and the packages sort codes by how they begin and end, so new ones keep to the
families: ``missing``, ``invalid``, ``unsupported``, ``value``, ``array``, ``conflict``, and what ends in ``NotFound``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from deployments import errors
from deployments.dialects.runware.schema import type_of
from deployments.errors import BadField, CallRefused, FaultKind, Problem, Unauthenticated
from deployments.tasks.task import Fault, Task


class MissingKey(Unauthenticated):
    """Show an API key: `Authorization: Bearer KEY`, or an authentication task before all others."""


class InvalidKey(Unauthenticated):
    """The API key must be shown as `Authorization: Bearer KEY` or as the apiKey of an authentication task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What went wrong with one task, or with the call."""

    #: What programs look at.
    code: str
    #: Where it is told by an HTTP status.
    status: int
    #: In words for the caller.
    message: str
    #: The member that it is about, as a path; empty where it is about none.
    field: tuple[str, ...] = ()
    #: More members that it may be about.
    others: tuple[str, ...] = ()
    #: When the same call may succeed, in seconds.
    retry_after_s: int | None = None


Row = tuple[str, tuple[str, ...]]

#: The code of each refusal, and the member it is about; the nearest class counts.
REFUSALS: Mapping[type[CallRefused], Row] = MappingProxyType(
    {
        CallRefused: ("internalServerError", ()),
        errors.BadCall: ("invalidTask", ()),
        errors.NotJson: ("invalidJSON", ()),
        errors.KeyReused: ("conflictTaskUUID", ("taskUUID",)),
        errors.WebhookRefused: ("invalidWebhookURL", ("webhookURL",)),
        errors.UploadAddressRefused: ("invalidUploadEndpoint", ("uploadEndpoint",)),
        errors.Unauthenticated: ("invalidApiKey", ("apiKey",)),
        MissingKey: ("missingApiKey", ("apiKey",)),
        errors.BudgetExhausted: ("insufficientCredits", ()),
        errors.ModelNotAllowed: ("invalidModel", ("model",)),
        errors.NotFound: ("taskFailedOrNotFound", ("taskUUID",)),
        errors.MethodNotAllowed: ("unsupportedMethod", ()),
        errors.BodyTooSlow: ("bodyTimeout", ()),
        errors.BodyTooLarge: ("invalidBodySize", ()),
        errors.Overloaded: ("rateLimitExceeded", ()),
    }
)
#: The same where it depends on the kind of task; none where the call as a whole is refused.
REFUSALS_OF_TASKS: Mapping[tuple[type[CallRefused], str], Row] = MappingProxyType(
    {
        (errors.NotFound, ""): ("pathNotFound", ()),
        (errors.NotFound, "mediaStorage"): ("mediaNotFound", ("media",)),
        (errors.SourceRefused, "imageUpload"): ("downloadFailed", ("image",)),
        (errors.SourceRefused, "mediaStorage"): ("downloadFailed", ("media",)),
        (errors.BadCall, "imageUpload"): ("invalidImage", ("image",)),
        (errors.BadCall, "mediaStorage"): ("invalidImage", ("media",)),
    }
)
#: What is said where the refusal's own words are about a header that callers here do not send.
MESSAGES: Mapping[type[CallRefused], str] = MappingProxyType(
    {errors.KeyReused: "this taskUUID was used before; make a new one"}
)
#: How the code of a bad member is made; ``{}`` stands for its name.
PROBLEMS: Mapping[Problem, str] = MappingProxyType(
    {
        Problem.MISSING: "missing{}",
        Problem.WRONG_TYPE: "invalid{}",
        Problem.TOO_SMALL: "valueTooSmall",
        Problem.TOO_LARGE: "valueTooLarge",
        Problem.NOT_A_CHOICE: "invalid{}",
        Problem.TOO_SHORT: "invalid{}Length",
        Problem.TOO_LONG: "invalid{}Length",
        Problem.TOO_FEW: "arrayTooSmall",
        Problem.TOO_MANY: "arrayTooLarge",
        Problem.BAD_ADDRESS: "invalid{}",
        Problem.BAD_FORM: "invalid{}",
        Problem.UNKNOWN: "unsupportedParameter",
    }
)
#: The code and status of a failed task, and the member it is about; references are told by the members that were sent.
FAULTS: Mapping[FaultKind, tuple[str, int, tuple[str, ...]]] = MappingProxyType(
    {
        FaultKind.REFUSED: ("invalidTask", 400, ()),
        FaultKind.REFERENCE_UNREACHABLE: ("downloadFailed", 400, ("inputs", "referenceImages")),
        FaultKind.REFERENCE_UNUSABLE: ("invalidImage", 400, ("inputs", "referenceImages")),
        FaultKind.UPLOAD_FAILED: ("uploadFailed", 400, ("uploadEndpoint",)),
        FaultKind.TOO_LATE: ("taskFailedOrNotFound", 404, ("taskUUID",)),
        FaultKind.ENGINE_FAILED: ("inferenceError", 500, ()),
        FaultKind.QUARANTINED: ("inferenceError", 500, ()),
    }
)
_REFERENCE_FAULTS = frozenset({FaultKind.REFERENCE_UNREACHABLE, FaultKind.REFERENCE_UNUSABLE})


def mistake_of(refusal: CallRefused, task_type: str) -> Mistake:
    """Return the mistake behind a refusal; the task's type is empty where the call as a whole is refused."""
    code, field = _field_row(refusal) if isinstance(refusal, BadField) else _row(refusal, task_type)
    return Mistake(
        code=code,
        status=refusal.http_status,
        message=MESSAGES.get(type(refusal), refusal.message),
        field=field,
        retry_after_s=refusal.retry_after_s,
    )


def mistake_of_task(task: Task) -> Mistake:
    """Return the mistake behind a task that ended without pictures."""
    fault = task.fault
    if fault is None:
        return Mistake(code="taskFailedOrNotFound", status=404, message="the task was cancelled", field=("taskUUID",))
    code, status, field = FAULTS[fault.kind]
    places = _places(task, fault)
    if places:
        field = tuple(places[0].split("."))
    return Mistake(code=code, status=status, message=fault.message, field=field, others=places[1:])


def written_mistake(mistake: Mistake, notes: Mapping[str, str], base_url: str) -> dict[str, Any]:
    """Write an entry of ``errors``: the packages find the task that it belongs to by its type and UUID."""
    told = {
        "code": mistake.code,
        "message": mistake.message,
        "parameter": _parameter(mistake),
        "type": type_of(notes.get("taskType", ""), mistake.field) if mistake.field else None,
        "taskType": notes.get("taskType"),
        "taskUUID": notes.get("taskUUID"),
        "documentation": f"{base_url}/docs/runware",
    }
    return {name: value for name, value in told.items() if value is not None}


def _field_row(refusal: BadField) -> Row:
    # Entries of lists and what stands in them are told by the list's name; the message says which.
    named = tuple(part for part in refusal.field if isinstance(part, str))
    if refusal.problem is Problem.NOT_A_CHOICE and named == ("taskType",):
        return "unsupportedTaskType", named
    # The pictures have codes of their own; whatever else stands in an object is told by the object's.
    speaking = named[-1:] if named[:1] == ("inputs",) else named[:1]
    name = speaking[0] if speaking else "task"
    return PROBLEMS[refusal.problem].format(name[:1].upper() + name[1:]), named


def _row(refusal: CallRefused, task_type: str) -> Row:
    kinds = [kind for kind in type(refusal).__mro__ if issubclass(kind, CallRefused)]
    rows = [REFUSALS_OF_TASKS.get((kind, task_type), REFUSALS.get(kind)) for kind in kinds]
    return next(row for row in rows if row)


def _places(task: Task, fault: Fault) -> tuple[str, ...]:
    noted = task.notes.get("references", "")
    return tuple(noted.split(",")) if noted and fault.kind in _REFERENCE_FAULTS else ()


def _parameter(mistake: Mistake) -> str | list[str] | None:
    if not mistake.field:
        return None
    path = ".".join(mistake.field)
    return [path, *mistake.others] if mistake.others else path
