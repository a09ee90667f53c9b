"""WaveSpeedAI's language against written-down calls and answers, and against anything a caller could send."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments import errors
from deployments.dialects.dialect import Call, Reply, Route
from deployments.dialects.wavespeed import WaveSpeed
from deployments.errors import CallRefused, FaultKind, Unauthenticated
from deployments.operations import Operation, Outcome, Read, Submit
from deployments.tasks.task import Fault, Task, TaskState

GOLDEN = Path(__file__).parents[2] / "golden" / "wavespeed"
DIALECT = WaveSpeed()
BASE_URL = "http://host:8000"
REFERENCE = "http://pictures.example/a.png"
SUBMITS = [route for route in DIALECT.routes if route.method == "POST"]
FIELDS = [
    "images",
    "reference_images",
    "prompt",
    "image_size",
    "seed",
    "num_images",
    "num_inference_steps",
    "guidance_scale",
    "output_format",
    "enable_sync_mode",
    "sync_mode",
    "sync_model",
    "enable_base64_output",
    "webhook_url",
]


def cases(name: str) -> list[Any]:
    """Return the entries of a golden file as test parameters."""
    entries = json.loads((GOLDEN / name).read_text(encoding="utf-8"))
    return [pytest.param(entry, id=entry["name"]) for entry in entries]


def made_call(written: Mapping[str, Any]) -> tuple[Route, Call]:
    """Return a written-down call with its route, the first one that fits."""
    path: str = written["path"]
    for route in DIALECT.routes:
        shape = re.fullmatch(route.path.replace("{id}", "(?P<id>[^/]+)"), path)
        if shape and route.method == written["method"]:
            body = written["text"] if "text" in written else json.dumps(written.get("json"))
            return route, Call(
                method=route.method,
                path=path,
                base_url=BASE_URL,
                path_params=shape.groupdict(),
                query=written.get("query", {}),
                body=body.encode(),
                fresh_seed=99,
            )
    raise LookupError(path)


def written_operation(operation: Operation) -> Any:
    """Write an operation as the golden files have it."""
    match operation:
        case Submit(request=request, dialect=dialect, sink=sink, wait=wait):
            return {"submit": json.loads(json.dumps(asdict(request))), "dialect": dialect, "sink": sink, "wait": wait}
        case Read(task_id=task_id):
            return {"read": task_id}


def written_reply(reply: Reply) -> Any:
    """Write a reply as the golden files have it, without headers."""
    return {"status": reply.status, "json": json.loads(reply.body)}


def submission(route: Route, body: bytes, query: Mapping[str, str] | None = None) -> Call:
    """Make a call that submits."""
    return Call(method="POST", path=route.path, base_url=BASE_URL, body=body, query=query or {})


@pytest.mark.parametrize("case", [*cases("submit.json"), *cases("read.json")])
def test_call_is_understood(case: Any) -> None:
    """A good call asks for exactly the operation beside it."""
    route, call = made_call(case["call"])

    operation = DIALECT.parse(route, call)

    assert written_operation(operation) == case["operation"]


@pytest.mark.parametrize("case", cases("mistakes.json"))
def test_mistake_is_named(case: Any) -> None:
    """A call with a mistake is answered with a status and a message that names the field."""
    route, call = made_call(case["call"])

    with pytest.raises(CallRefused) as refusal:
        DIALECT.parse(route, call)

    assert written_reply(DIALECT.render_refusal(refusal.value, call)) == case["reply"]


@pytest.mark.parametrize("case", cases("answers.json"))
def test_task_is_shown(case: Any, make_task: Callable[..., Task]) -> None:
    """A task in each of its states is shown as the clients expect it."""
    fields = dict(case["task"])
    fault = fields.pop("fault", None)
    task = make_task(
        **fields
        | {
            "created_at": datetime.fromisoformat(fields["created_at"]),
            "state": TaskState(fields.get("state", "queued")),
            "fault": fault and Fault(kind=FaultKind(fault["kind"]), message=fault["message"]),
        }
    )
    outcome = Outcome(task=task, pictures=tuple(case["pictures"]), is_awaited=case["gave_up_waiting"])

    reply = DIALECT.render(outcome, Call(method="GET", path="/", base_url=BASE_URL))

    assert written_reply(reply) == case["reply"]


@pytest.mark.parametrize("case", cases("refusals.json"))
def test_refusal_is_shown(case: Any) -> None:
    """Every refusal has its status, its words and, where waiting helps, how long to wait."""
    refusal = getattr(errors, case["refusal"])()

    reply = DIALECT.render_refusal(refusal, Call(method="GET", path="/", base_url=BASE_URL))

    assert written_reply(reply) | {"headers": dict(reply.headers)} == case["reply"]


@pytest.mark.parametrize("shown", ["Bearer some-key", "bearer some-key", "BEARER   some-key "])
def test_bearer_key_is_read(shown: str) -> None:
    """The scheme's case does not count, nor do blanks around the key."""
    call = Call(method="GET", path="/", base_url=BASE_URL, headers={"authorization": shown})

    assert DIALECT.api_key(call) == "some-key"


@pytest.mark.parametrize("shown", [None, "", "some-key", "Key some-key", "Bearer", "Bearer ", "Bearer two keys"])
def test_other_key_is_refused(shown: str | None) -> None:
    """No key, another scheme or something that is no key is a 401."""
    headers = {} if shown is None else {"authorization": shown}
    call = Call(method="GET", path="/", base_url=BASE_URL, headers=headers)

    with pytest.raises(Unauthenticated):
        DIALECT.api_key(call)


def test_webhook_of_the_query_wins() -> None:
    """With both, the address of the query is the one that counts, so its mistake is the one that is told."""
    body = json.dumps({"images": [REFERENCE], "prompt": "x", "webhook_url": "https://hooks.example/"}).encode()

    with pytest.raises(CallRefused, match="webhook must be an http or https URL"):
        DIALECT.parse(SUBMITS[0], submission(SUBMITS[0], body, {"webhook": "ftp://hooks.example/"}))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([REFERENCE, "png", "square"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    route=st.sampled_from(SUBMITS),
    body=st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()),
    webhook=st.none() | st.text(),
)
def test_any_body_is_understood_or_refused(route: Route, body: bytes, webhook: str | None) -> None:
    """No body and no query raises anything but CallRefused."""
    call = submission(route, body, {} if webhook is None else {"webhook": webhook})

    try:
        answer: Operation | Reply = DIALECT.parse(route, call)
    except CallRefused as refusal:
        answer = DIALECT.render_refusal(refusal, call)

    assert isinstance(answer, Submit) or (isinstance(answer, Reply) and answer.status == 400)


@settings(deadline=None)
@given(route=st.sampled_from(SUBMITS), fields=st.dictionaries(st.sampled_from(FIELDS), ANY_JSON, max_size=4))
def test_any_value_in_any_field_is_understood_or_refused(route: Route, fields: dict[str, Any]) -> None:
    """No value of any kind in any field raises anything but CallRefused."""
    body = {"images": [REFERENCE], "reference_images": [REFERENCE], "prompt": "x"} | fields

    try:
        operation = DIALECT.parse(route, submission(route, json.dumps(body).encode()))
    except CallRefused:
        return

    assert isinstance(operation, Submit)
    assert operation.request.seed >= 0
