"""Reads an array of tasks: one part for each element, so that a mistake in one is no other's business.

What ``imageInference`` wants is read in ``inference.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from deployments.dialects.dialect import Call
from deployments.dialects.fields import Fields
from deployments.dialects.runware.inference import read_inference
from deployments.dialects.runware.mistakes import InvalidKey, MissingKey
from deployments.dialects.runware.names import UUID_V4, derived_uuid, task_key, upload_source
from deployments.dialects.runware.schema import SCHEMA
from deployments.errors import BadCall, BadField, CallRefused, NotJson, Problem
from deployments.json_body import read_array
from deployments.operations.operation import Batch, Drop, Keep, Operation, Part, ReadBalance, ReadOnce, Tell
from models.catalog import ModelSpec

#: Tasks of one array.
MAX_TASKS = 100
#: Longest name of a task that is shown again, in characters.
_MAX_NAME = 100
# The packages say more than a name when they log in; nobody is turned away for that.
_UNNAMED = frozenset({"authentication", "ping"})


def read_batch(call: Call, models: Mapping[str, ModelSpec]) -> Batch:
    """Read every task of the array.

    Raises:
        CallRefused: when the body as a whole cannot be read; a mistake in a task becomes that task's part.
    """
    return Batch(parts=tuple(_part(element, call, models) for element in _elements(call.body)))


def shown_key(body: bytes) -> str:
    """Return the key that the first task of the array shows.

    Raises:
        Unauthenticated: when it shows none.
    """
    try:
        first = _elements(body)[0]
    except CallRefused as refusal:
        raise MissingKey from refusal
    if not _is_authentication(first):
        raise MissingKey
    key = first.get("apiKey")
    if key is None:
        raise MissingKey
    if not isinstance(key, str) or not key:
        raise InvalidKey
    return key


def read_greeting(call: Call) -> Tell | None:
    """Return how to welcome a caller whose array does nothing but show a key; None where it asks for more.

    Raises:
        CallRefused: when the body cannot be read.
    """
    elements = _elements(call.body)
    return _authentication(Fields(elements[0]), call) if all(map(_is_authentication, elements)) else None


def _is_authentication(element: Any) -> bool:
    return isinstance(element, dict) and element.get("taskType") == "authentication"


def _elements(body: bytes) -> list[Any]:
    try:
        elements = read_array(body)
    except BadCall as error:
        raise NotJson(error.message) from error
    if not elements:
        raise NotJson("the array must hold at least one task")
    if len(elements) > MAX_TASKS:
        raise BadField(f"the array must hold at most {MAX_TASKS} tasks", problem=Problem.TOO_MANY, bound=MAX_TASKS)
    return elements


def _part(element: Any, call: Call, models: Mapping[str, ModelSpec]) -> Part:
    if not isinstance(element, dict):
        return Part(notes={}, operation=BadCall("every element of the array must be a task object"))
    try:
        return Part(notes=_notes(element), operation=_operation(element, call, models))
    except CallRefused as refusal:
        return Part(notes=_notes(element), operation=refusal)


def _notes(task: Mapping[str, Any]) -> dict[str, str]:
    """Return what an answer about a task names it by, also where that is wrong: the packages look for it."""
    names = {name: task.get(name) for name in ("taskType", "taskUUID")}
    return {name: value for name, value in names.items() if isinstance(value, str) and 0 < len(value) <= _MAX_NAME}


def _operation(task: Mapping[str, Any], call: Call, models: Mapping[str, ModelSpec]) -> Operation:
    fields = Fields(task)
    task_type = fields.choice("taskType", default=None, among=_TASK_TYPES)
    if task_type not in _UNNAMED:
        fields.only(SCHEMA[task_type])
        fields.matching("taskUUID", UUID_V4, form="a UUID v4")
    if task_type == "imageInference":
        return read_inference(task, call, models)
    return _READERS[task_type](fields, call)


def _authentication(fields: Fields, call: Call) -> Tell:
    session = fields.raw("connectionSessionUUID")
    is_known = isinstance(session, str) and UUID_V4.fullmatch(session)
    return Tell(
        subject="authentication", notes={"connectionSessionUUID": str(session) if is_known else call.fresh_uuid}
    )


def _ping(fields: Fields, _call: Call) -> Tell:
    if not fields.has("ping"):
        fields.refuse("ping", "is required", Problem.MISSING)
    if not fields.switch("ping"):
        fields.refuse("ping", "must be true", Problem.NOT_A_CHOICE)
    return Tell(subject="ping")


def _get_response(fields: Fields, _call: Call) -> ReadOnce:
    return ReadOnce(key=task_key(fields.raw("taskUUID")))


def _get_task_details(fields: Fields, _call: Call) -> ReadOnce:
    return ReadOnce(key=task_key(fields.raw("taskUUID")), with_body=True)


def _image_upload(fields: Fields, call: Call) -> Keep:
    return _keep(fields, "image", call)


def _media_storage(fields: Fields, call: Call) -> Keep | Drop:
    if fields.choice("operation", default=None, among={"upload": True, "delete": False}):
        return _keep(fields, "media", call)
    return Drop(uuid=fields.matching("media", UUID_V4, form="the mediaUUID of an upload").lower())


def _keep(fields: Fields, name: str, call: Call) -> Keep:
    given = fields.raw(name)
    if given is None:
        fields.refuse(name, "is required", Problem.MISSING)
    source = upload_source(given) if isinstance(given, str) else None
    if source is None:
        words = "must be an http, https or data URL, or base64 of a PNG, JPEG or WebP"
        fields.refuse(name, words, Problem.BAD_ADDRESS)
    # Drawn per call, so that a new upload never takes the place of one that requests already refer to.
    return Keep(source=source, uuid=derived_uuid(call.fresh_uuid, fields.raw("taskUUID"), source))


def _account_management(fields: Fields, _call: Call) -> ReadBalance:
    fields.choice("operation", default=None, among={"getDetails": True})
    return ReadBalance()


_TASK_TYPES = MappingProxyType({name: name for name in SCHEMA})
_READERS: Mapping[str, Callable[[Fields, Call], Operation]] = MappingProxyType(
    {
        "authentication": _authentication,
        "ping": _ping,
        "getResponse": _get_response,
        "getTaskDetails": _get_task_details,
        "imageUpload": _image_upload,
        "mediaStorage": _media_storage,
        "accountManagement": _account_management,
    }
)
