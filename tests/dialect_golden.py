"""Calls and answers of a dialect as JSON files: read for the tests of every dialect.

tests/golden/<dialect>/calls.json       a call, and the operation that it asks for
tests/golden/<dialect>/mistakes.json    a call with one mistake, and the reply that names it
tests/golden/<dialect>/answers.json     a call, what came of it, and the reply that shows it
tests/golden/<dialect>/refusals.json    a refusal that is not about a field, and its reply
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from deployments.dialects.dialect import Call, Dialect, Reply, Route
from deployments.errors import CallRefused, FaultKind
from deployments.operations import outcome as outcomes
from deployments.operations.outcome import Outcome, TaskOutcome
from deployments.tasks.task import Fault, Output, Task, TaskState

GOLDEN = Path(__file__).parent / "golden"
BASE_URL = "http://host:8000"
#: What the ingress would have drawn.
FRESH_SEED, FRESH_UUID, NOW_S = 99, "11111111-2222-4333-8444-555555555555", 1_767_600_000.0
#: Says where a body goes on in bytes after its JSON.
BINARY_FROM = "Inference-Header-Content-Length"
_VARIABLE = re.compile(r"\{(\w+)\}")

MakeTask = Callable[..., Task]


def cases(dialect: str, file_name: str) -> list[Any]:
    """Return the entries of a golden file as test parameters."""
    entries = json.loads((GOLDEN / dialect / file_name).read_text(encoding="utf-8"))
    return [pytest.param(entry, id=entry["name"]) for entry in entries]


def made_call(dialect: Dialect, written: Mapping[str, Any]) -> tuple[Route, Call]:
    """Return a written-down call with its route, the first one that fits.

    Args:
        dialect: whose call it is.
        written: ``method``, ``path`` and, if they matter, ``query``, ``headers``, and ``json`` or ``text`` as the body;
            ``binary``, in base64, stands behind it, as the header ``BINARY_FROM`` then says.
    """
    for route in dialect.routes:
        shape = re.fullmatch(_VARIABLE.sub(r"(?P<\1>[^/]+)", route.path), written["path"])
        if shape and route.method == written["method"]:
            return route, _call(written, route.name, shape.groupdict())
    raise LookupError(written["path"])


def _call(written: Mapping[str, Any], route: str, path_params: Mapping[str, str]) -> Call:
    body = (json.dumps(written["json"]) if "json" in written else written.get("text", "")).encode()
    where = {BINARY_FROM.lower(): str(len(body))} if "binary" in written else {}
    return Call(
        method=written["method"],
        path=written["path"],
        route=route,
        base_url=BASE_URL,
        path_params=path_params,
        query=written.get("query", {}),
        headers=where | written.get("headers", {}),
        body=body + base64.b64decode(written.get("binary", "")),
        fresh_seed=FRESH_SEED,
        fresh_uuid=FRESH_UUID,
        now_s=NOW_S,
    )


def written(value: Any) -> Any:
    """Write an operation, or anything in it, as the golden files have it: without what is as it is by default."""
    if isinstance(value, CallRefused):
        return {type(value).__name__: value.message}
    if is_dataclass(value) and not isinstance(value, type):
        told = {each.name: written(getattr(value, each.name)) for each in fields(value) if _is_told(each, value)}
        return {type(value).__name__: told}
    if isinstance(value, Mapping):
        return {str(key): written(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [written(each) for each in value]
    return _written_plain(value)


def _written_plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _is_told(each: Field[Any], owner: Any) -> bool:
    default = each.default
    if each.default_factory is not MISSING:
        default = each.default_factory()
    return bool(getattr(owner, each.name) != default)


def made_outcome(entry: Mapping[str, Any], make_task: MakeTask) -> Outcome:
    """Return a written-down outcome: ``{"<class>": {fields}}``, or ``{"task": {...}, "pictures": [...], ...}``."""
    if "task" in entry:
        rest = {name: value for name, value in entry.items() if name not in ("task", "pictures")}
        return TaskOutcome(task=made_task(entry["task"], make_task), pictures=tuple(entry.get("pictures", ())), **rest)
    [(kind, members)] = entry.items()
    if kind == "Listing":
        tasks = tuple(made_outcome(each, make_task) for each in members["tasks"])
        return outcomes.Listing(**{**members, "tasks": tasks})
    if kind == "Statistics":
        models = {name: _statistics(done) for name, done in members["models"].items()}
        return outcomes.Statistics(models=models)
    made: Outcome = getattr(outcomes, kind)(**{name: _made(name, value) for name, value in members.items()})
    return made


def _statistics(members: Mapping[str, Any]) -> outcomes.ModelStatistics:
    return outcomes.ModelStatistics(**{name: _made(name, value) for name, value in members.items()})


def made_task(members: Mapping[str, Any], make_task: MakeTask) -> Task:
    """Return a written-down task; what is left out is as ``make_task`` makes it."""
    made = {name: _made(name, value) for name, value in members.items()}
    if "state" in made:
        made["state"] = TaskState(made["state"])
    if "fault" in made:
        made["fault"] = Fault(kind=FaultKind(made["fault"]["kind"]), message=made["fault"]["message"])
    if "outputs" in made:
        made["outputs"] = tuple(made_output(each) for each in made["outputs"])
    return make_task(**made)


def made_output(members: Mapping[str, Any]) -> Output:
    """Return a written-down output; what is left out is a small JPEG in the files sink."""
    usual = {
        "sink": "files",
        "value": "x.jpg",
        "content_type": "image/jpeg",
        "size_bytes": 9,
        "sha256": "00",
        "seed": 7,
    }
    return Output(**{**usual, **members})


def _made(name: str, value: Any) -> Any:
    if name.endswith("_at") and isinstance(value, str):
        return datetime.fromisoformat(value)
    return tuple(value) if isinstance(value, list) and name != "outputs" else value


def written_reply(reply: Reply, *, headers: tuple[str, ...] = ()) -> Any:
    """Write a reply as the golden files have it, with the headers that are named; what is behind its JSON in base64."""
    length = int(reply.headers.get(BINARY_FROM, len(reply.body)))
    told: dict[str, Any] = {"status": reply.status, "json": json.loads(reply.body[:length])}
    if BINARY_FROM in reply.headers:
        told["binary"] = base64.b64encode(reply.body[length:]).decode("ascii")
    if headers:
        told["headers"] = {name: reply.headers[name] for name in headers if name in reply.headers}
    return told
