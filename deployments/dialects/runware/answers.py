"""Writes what came of a task as entries of ``data`` and ``errors``. Knows no HTTP beyond a status.

A task is told as a whole: its pictures turn ``success`` together, for the older Python package would count the first of
them twice otherwise. Until then each has its name already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.dialects.runware.mistakes import Mistake, mistake_of, mistake_of_task, written_mistake
from deployments.dialects.runware.names import picture_uuid
from deployments.errors import CallRefused
from deployments.operations.outcome import Balance, Dropped, Kept, Outcome, TaskOutcome, Told
from deployments.tasks.task import Output, Task, TaskState

_INFERENCE = "imageInference"
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What there is to say of one task: entries, or what went wrong."""

    #: Entries of ``data``.
    items: tuple[Mapping[str, Any], ...] = ()
    #: What went wrong, if anything did.
    mistake: Mistake | None = None
    #: Type and UUID of the task that a mistake belongs to.
    notes: Mapping[str, str]


def answer_of(outcome: Outcome | CallRefused, notes: Mapping[str, str], base_url: str) -> Answer:
    """Return what to say of one part; ``notes`` are its task's type and UUID."""
    match outcome:
        case CallRefused():
            return Answer(mistake=mistake_of(outcome, notes.get("taskType", "unknown")), notes=notes)
        case Told():
            return Answer(items=(_told(outcome),), notes=notes)
        case TaskOutcome() if notes.get("taskType") == "getTaskDetails":
            return Answer(items=(_details(outcome, notes, base_url),), notes=notes)
        case TaskOutcome():
            return _answer_of_task(outcome, notes)
    return Answer(items=({**notes, **_plain(outcome, notes)},), notes=notes)


def results_of(outcome: TaskOutcome) -> Answer:
    """Return all that can be said of a task now: its pictures, made or in the making, or why there are none."""
    task = outcome.task
    notes = {"taskType": _INFERENCE, "taskUUID": task.notes.get("taskUUID", task.id)}
    match task.state:
        case TaskState.SUCCEEDED:
            return Answer(items=tuple(notes | each for each in _pictures(outcome)), notes=notes)
        case TaskState.QUEUED | TaskState.RUNNING:
            return Answer(items=tuple(notes | each for each in _unfinished(task)), notes=notes)
    return Answer(mistake=mistake_of_task(task), notes=notes)


def written_answers(answers: tuple[Answer, ...], base_url: str) -> dict[str, Any]:
    """Write several answers as one; never with empty ``errors``, whose mere presence is a failure to the packages."""
    told = {
        "data": [item for answer in answers for item in answer.items],
        "errors": [
            written_mistake(answer.mistake, answer.notes, base_url) for answer in answers if answer.mistake is not None
        ],
    }
    return {name: entries for name, entries in told.items() if entries}


def _answer_of_task(outcome: TaskOutcome, notes: Mapping[str, str]) -> Answer:
    is_submission = notes.get("taskType") == _INFERENCE
    if is_submission and not outcome.is_awaited:
        return Answer(items=(notes,), notes=notes)
    if is_submission and outcome.gave_up_waiting:
        # Without an imageUUID: the packages would take an entry that has one for the picture itself.
        return Answer(items=({**notes, "status": "processing"},), notes=notes)
    return results_of(outcome)


def _details(outcome: TaskOutcome, notes: Mapping[str, str], base_url: str) -> dict[str, Any]:
    return {
        **notes,
        "request": [] if outcome.body is None else [json.loads(outcome.body)],
        "response": written_answers((results_of(outcome),), base_url),
    }


def _unfinished(task: Task) -> list[dict[str, Any]]:
    progress = task.steps_done * 100 // task.steps_total
    return [
        {"status": "processing", "imageUUID": picture_uuid(task.id, index), "progress": progress}
        for index in range(_count(task))
    ]


def _pictures(outcome: TaskOutcome) -> list[dict[str, Any]]:
    if not outcome.task.outputs:  # its time is over, or its tenant asked for that: it still says how it ended
        gone = range(_count(outcome.task))
        return [{"imageUUID": picture_uuid(outcome.task.id, each), "status": "success"} for each in gone]
    sinks = len(outcome.task.sinks)
    placed = list(zip(outcome.task.outputs, outcome.pictures, strict=False))
    starts = range(0, len(placed), sinks)
    return [_picture(outcome.task, index, placed[start : start + sinks]) for index, start in enumerate(starts)]


def _picture(task: Task, index: int, placed: list[tuple[Output, str]]) -> dict[str, Any]:
    output = placed[0][0]
    told: dict[str, Any] = {
        "imageUUID": picture_uuid(task.id, index),
        "status": "success",
        "seed": output.seed,
        **_forms(task, {each.sink: shown for each, shown in placed}, output.content_type),
    }
    if "includeCost" in task.notes:
        told["cost"] = round(task.price / _count(task) / _MILLION, 6)
    if "checkContent" in task.notes or output.is_unsafe:
        told["NSFWContent"] = bool(output.is_unsafe)
    return told


def _forms(task: Task, shown: Mapping[str, str], content_type: str) -> dict[str, str]:
    """Return a picture in each form that was asked for; the inline sink shows it as naked base64."""
    wanted = task.notes.get("outputType", "URL").split(",")
    inline = shown.get("inline", "")
    forms = {
        "URL": ("imageURL", next((link for sink, link in shown.items() if sink != "inline"), "")),
        "base64Data": ("imageBase64Data", inline),
        "dataURI": ("imageDataURI", f"data:{content_type};base64,{inline}"),
    }
    return dict(forms[each] for each in wanted)


def _count(task: Task) -> int:
    return int(task.notes.get("numberResults", "1"))


def _told(told: Told) -> Mapping[str, Any]:
    """Write a welcome or a pong; neither has a taskUUID, by which the JavaScript package would look for a task."""
    return {"taskType": told.subject, **({"pong": True} if told.subject == "ping" else told.notes)}


def _plain(outcome: Outcome, notes: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what there is to say of pictures that are kept, and of money."""
    match outcome:
        case Kept() if notes.get("taskType") == "imageUpload":
            return {"imageUUID": outcome.uuid, "imageURL": outcome.url}
        case Kept():
            return {"operation": "upload", "mediaUUID": outcome.uuid, "mediaURL": outcome.url}
        case Dropped():
            return {"operation": "delete", "mediaUUID": outcome.uuid}
        case Balance():
            return {"operation": "getDetails", "balance": _balance(outcome)}
    raise AssertionError(f"nothing asks for {type(outcome).__name__} in this language")


def _balance(balance: Balance) -> dict[str, Any]:
    left = None if balance.left is None else balance.left / _MILLION
    return {"amount": left, "currency": "USD", "spent": balance.spent / _MILLION, "held": balance.held / _MILLION}
