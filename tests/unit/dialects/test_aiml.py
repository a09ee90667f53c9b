"""AIML's language against written-down calls and answers, and against anything a caller could send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from dialect_golden import cases, made_call, made_outcome, written, written_reply
from hypothesis import given
from hypothesis import strategies as st

from deployments import errors
from deployments.dialects.aiml import Aiml
from deployments.dialects.dialect import Call, Reply
from deployments.errors import CallRefused, Unauthenticated
from deployments.operations.operation import Operation, Submit
from deployments.operations.outcome import Healthy
from deployments.tasks.task import Task

DIALECT = Aiml()
[GENERATE] = DIALECT.routes
LEAST = {"model": "bytedance/uso", "prompt": "x", "image_urls": ["http://pictures.example/a.png"]}
FIELDS = [
    *LEAST,
    "image_size",
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "keep_size",
    "num_images",
    "seed",
    "sync_mode",
    "enable_safety_checker",
    "output_format",
    "n",
    "size",
    "response_format",
    "stream",
]
HEADERS = ("Retry-After", "x-should-retry")
UUID, NOW_S = "11111111-2222-4333-8444-555555555555", 1_767_600_000.0


def posted(body: bytes = b"", **headers: str) -> Call:
    """Make a call for pictures."""
    return Call(method="POST", path=GENERATE.path, headers=headers, body=body, fresh_uuid=UUID, now_s=NOW_S)


@pytest.mark.parametrize("case", cases("aiml", "calls.json"))
def test_call_is_understood(case: Any) -> None:
    """A good call asks for exactly the operation beside it."""
    route, call = made_call(DIALECT, case["call"])

    operation = DIALECT.parse(route, call)

    assert written(operation) == case["operation"]


@pytest.mark.parametrize("case", cases("aiml", "mistakes.json"))
def test_mistake_is_named(case: Any) -> None:
    """A call with a mistake is answered with a 400 whose message, list of errors and error object name the field."""
    route, call = made_call(DIALECT, case["call"])

    with pytest.raises(CallRefused) as refusal:
        DIALECT.parse(route, call)

    assert written_reply(DIALECT.render_refusal(refusal.value, call)) == case["reply"]


@pytest.mark.parametrize("case", cases("aiml", "answers.json"))
def test_task_is_shown(case: Any, make_task: Callable[..., Task]) -> None:
    """Pictures come with 201; a task that made none is an HTTP error that no client repeats by itself if it is ours."""
    _, call = made_call(DIALECT, case["call"])
    outcome = made_outcome(case["outcome"], make_task)

    reply = DIALECT.render(outcome, call)

    assert {"headers": {}} | written_reply(reply, headers=HEADERS) == case["reply"]


@pytest.mark.parametrize("case", cases("aiml", "refusals.json"))
def test_refusal_is_shown(case: Any) -> None:
    """Every refusal has its status, its words twice and, where waiting helps, how long to wait."""
    refusal = getattr(errors, case["refusal"])()

    reply = DIALECT.render_refusal(refusal, posted())

    assert written_reply(reply, headers=HEADERS) == case["reply"]


def test_refusal_tells_where_it_happened() -> None:
    """The path and the moment are those of the call."""
    call = Call(method="POST", path="/v1/images/edits", fresh_uuid=UUID, now_s=1_767_607_872.3456)

    answer = json.loads(DIALECT.render_refusal(errors.NotFound(), call).body)

    assert (answer["path"], answer["timestamp"]) == ("/v1/images/edits", "2026-01-05T10:11:12.345Z")


@pytest.mark.parametrize("shown", ["Bearer some-key", "bearer some-key", "BEARER   some-key "])
def test_bearer_key_is_read(shown: str) -> None:
    """The scheme's case does not count, nor do blanks around the key."""
    assert DIALECT.api_key(posted(authorization=shown)) == "some-key"


@pytest.mark.parametrize("shown", [None, "", "some-key", "Key some-key", "Bearer", "Bearer ", "Bearer two keys"])
def test_other_key_is_refused(shown: str | None) -> None:
    """No key, another scheme or something that is no key is a 401."""
    headers = {} if shown is None else {"authorization": shown}

    with pytest.raises(Unauthenticated):
        DIALECT.api_key(posted(b"", **headers))


def test_other_outcome_is_a_mistake_of_ours() -> None:
    """What cannot be asked for here cannot be answered either."""
    with pytest.raises(TypeError, match="Healthy"):
        DIALECT.render(Healthy(), posted())


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["512x512", "png", "square"]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text() | st.sampled_from(["width", "height"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(body=st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_understood_or_refused(body: bytes) -> None:
    """No body raises anything but CallRefused."""
    try:
        answer: Operation | Reply = DIALECT.parse(GENERATE, posted(body))
    except CallRefused as refusal:
        answer = DIALECT.render_refusal(refusal, posted(body))

    assert isinstance(answer, Submit) or (isinstance(answer, Reply) and answer.status == 400)


@given(fields=st.dictionaries(st.sampled_from(FIELDS), ANY_JSON, max_size=4))
def test_any_value_in_any_field_is_understood_or_refused(fields: dict[str, Any]) -> None:
    """No value of any kind in any field raises anything but CallRefused."""
    try:
        operation = DIALECT.parse(GENERATE, posted(json.dumps(LEAST | fields).encode()))
    except CallRefused:
        return

    assert isinstance(operation, Submit)
    assert operation.request.seed >= 1


@given(shown=st.text())
def test_any_authorization_is_a_key_or_refused(shown: str) -> None:
    """No header raises anything but Unauthenticated."""
    try:
        key = DIALECT.api_key(posted(authorization=shown))
    except Unauthenticated:
        return

    assert key
    assert not key.isspace()
