"""WaveSpeedAI's language against written-down calls and answers, and against anything a caller could send."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from dialect_golden import BASE_URL, cases, made_call, made_outcome, made_task, written, written_reply
from hypothesis import given
from hypothesis import strategies as st

from deployments import errors
from deployments.dialects.dialect import Call, Dialect, Event, Letter, Reply, Route, Streaming, Telling
from deployments.dialects.wavespeed import WaveSpeed
from deployments.dialects.wavespeed.vocabulary import FAULT_CODES, STATUS, VENDOR_NAMES
from deployments.errors import BadCall, CallRefused, FaultKind, Unauthenticated
from deployments.operations.operation import Keep, Submit
from deployments.operations.outcome import TaskOutcome
from deployments.tasks.task import Preview, Task, TaskState
from deployments.tenants.webhook_keys import WebhookSigner
from models.catalog import CATALOG

DIALECT = WaveSpeed()
REFERENCE = "http://pictures.example/a.png"
SUBMITS = [route for route in DIALECT.routes if route.name.startswith("submit")]
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
OTHER_FIELDS = [
    "ids",
    "page",
    "page_size",
    "model",
    "status",
    "created_after",
    "created_before",
    "filename",
    "size",
    "content_type",
    "model_id",
    "inputs",
]
LOOK = Call(method="GET", path="/", base_url=BASE_URL)


def submission(route: Route, body: bytes, query: Mapping[str, str] | None = None) -> Call:
    """Make a call that submits."""
    return Call(method="POST", path=route.path, base_url=BASE_URL, body=body, query=query or {})


def upload(body: bytes, content_type: str) -> Call:
    """Make a call that uploads a form."""
    return Call(method="POST", path="/api/v3/upload", body=body, headers={"content-type": content_type})


def route_named(name: str) -> Route:
    """Return the first route of a name."""
    return next(route for route in DIALECT.routes if route.name == name)


@pytest.mark.parametrize("case", cases("wavespeed", "calls.json"))
def test_call_is_understood(case: Any) -> None:
    """A good call asks for exactly the operation beside it."""
    route, call = made_call(DIALECT, case["call"])

    operation = DIALECT.parse(route, call)

    assert written(operation) == case["operation"]


@pytest.mark.parametrize("case", cases("wavespeed", "mistakes.json"))
def test_mistake_is_named(case: Any) -> None:
    """A call with a mistake is answered with a status and a message that names the field."""
    route, call = made_call(DIALECT, case["call"])

    with pytest.raises(CallRefused) as refusal:
        DIALECT.parse(route, call)

    assert written_reply(DIALECT.render_refusal(refusal.value, call)) == case["reply"]


@pytest.mark.parametrize("case", cases("wavespeed", "answers.json"))
def test_outcome_is_shown(case: Any, make_task: Callable[..., Task]) -> None:
    """What came of a call is shown as the clients expect it."""
    _, call = made_call(DIALECT, case["call"])

    reply = DIALECT.render(made_outcome(case["outcome"], make_task), call)

    assert written_reply(reply) == case["reply"]


@pytest.mark.parametrize("case", cases("wavespeed", "refusals.json"))
def test_refusal_is_shown(case: Any) -> None:
    """Every refusal has its status, its words and, where waiting helps, how long to wait."""
    refusal = getattr(errors, case["refusal"])()

    reply = DIALECT.render_refusal(refusal, LOOK)

    assert written_reply(reply) | {"headers": dict(reply.headers)} == case["reply"]


@pytest.mark.parametrize("case", cases("wavespeed", "events.json"))
def test_progress_is_told(case: Any, make_task: Callable[..., Task]) -> None:
    """Each change of a task is one event, and none is told twice to a follower who comes back."""
    preview = Preview(**case["preview"]) if "preview" in case else None
    outcome = TaskOutcome(task=made_task(case["task"], make_task), pictures=tuple(case["pictures"]), preview=preview)
    headers = {"last-event-id": case["last_event_id"]} if "last_event_id" in case else {}
    call = Call(method="GET", path="/", base_url=BASE_URL, headers=headers)

    told = DIALECT.render_progress(outcome, call)

    assert told.split("\n") == case["event"]


@pytest.mark.parametrize("case", cases("wavespeed", "webhooks.json"))
def test_end_is_told(case: Any, make_task: Callable[..., Task]) -> None:
    """A webhook holds the ended task as it is and what its caller had sent; there is none for a cancelled one."""
    task = made_task(case["task"], make_task)
    outcome = TaskOutcome(task=task, pictures=tuple(case["pictures"]), body=case["body"])

    body = DIALECT.write_event(Event(id="e", outcome=outcome, base_url=BASE_URL))

    assert (json.loads(body) if body else None) == case["told"]


def test_webhook_is_signed_with_its_tenant_s_secret() -> None:
    """A receiver who has the secret gets the same signature from the headers and the raw body."""
    signer = WebhookSigner("a secret of the server, long enough")
    letter = Letter(event_id="e-1", tenant_id="alice", task_id="t", body=b'{"id": "\xc3\xbc"}', sent_at_s=1767600000)

    headers = DIALECT.sign(letter, signer)

    key = signer.secret_of("alice").removeprefix("whsec_").encode()
    expected = hmac.new(key, b'e-1.1767600000.{"id": "\xc3\xbc"}', hashlib.sha256).hexdigest()
    assert headers == {
        "webhook-id": "e-1",
        "webhook-timestamp": "1767600000",
        "webhook-signature": f"v3,{expected}",
    }


def test_every_word_of_ours_has_one_of_theirs() -> None:
    """No model, state or fault is without its word, so none can make an answer impossible."""
    assert set(STATUS) == set(TaskState)
    assert set(FAULT_CODES) == set(FaultKind)
    assert set(VENDOR_NAMES) == set(CATALOG)


def test_dialect_streams_and_tells() -> None:
    """The ingress and the post find by protocol what this dialect can do."""
    dialect: Dialect = DIALECT

    assert isinstance(dialect, Streaming)
    assert isinstance(dialect, Telling)


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


def test_long_file_name_of_a_form_is_cut_off() -> None:
    """A name of any length comes out as text of at most 1024 bytes; half a character is left out."""
    head = 'Content-Disposition: form-data; name="file"; filename="a' + "ü" * 1500 + '"'
    body = f"--e\r\n{head}\r\n\r\nabc\r\n--e--".encode()

    operation = DIALECT.parse(route_named("upload"), upload(body, "multipart/form-data; boundary=e"))

    assert operation == Keep(content=b"abc", file_name="a" + "ü" * 511)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([REFERENCE, "png", "square"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    route=st.sampled_from(SUBMITS),
    body=st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()),
    webhook=st.none() | st.text(),
)
def test_any_body_is_understood_or_refused(route: Route, body: bytes, webhook: str | None) -> None:
    """No body and no query raises anything but CallRefused."""
    call = submission(route, body, {} if webhook is None else {"webhook": webhook})

    try:
        answer: Any = DIALECT.parse(route, call)
    except CallRefused as refusal:
        answer = DIALECT.render_refusal(refusal, call)

    assert isinstance(answer, Submit) or (isinstance(answer, Reply) and answer.status == 400)


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


@given(
    route=st.sampled_from([route for route in DIALECT.routes if route not in SUBMITS]),
    fields=st.dictionaries(st.sampled_from(OTHER_FIELDS), ANY_JSON, max_size=4),
    query=st.dictionaries(st.sampled_from(OTHER_FIELDS), st.text() | st.integers().map(str), max_size=4),
)
def test_any_call_elsewhere_is_understood_or_refused(
    route: Route, fields: dict[str, Any], query: dict[str, str]
) -> None:
    """At the other addresses too, a call is understood, or refused with a 400 that can be written."""
    call = Call(
        method=route.method,
        path=route.path,
        path_params={"id": "\ud800"},
        query=query,
        body=json.dumps(fields).encode(),
    )

    try:
        answer: Any = DIALECT.parse(route, call)
    except CallRefused as refusal:
        answer = DIALECT.render_refusal(refusal, call)

    assert not isinstance(answer, Reply) or answer.status == 400


FORM = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--edge--\r\n'


@given(
    body=st.binary() | st.tuples(st.integers(0, len(FORM)), st.binary()).map(lambda cut: FORM[: cut[0]] + cut[1]),
    content_type=st.text() | st.text().map(lambda text: f"multipart/form-data; boundary={text}"),
)
def test_any_form_is_understood_or_refused(body: bytes, content_type: str) -> None:
    """No form and no media type raises anything but CallRefused."""
    for media_type in (content_type, "multipart/form-data; boundary=edge"):
        try:
            operation = DIALECT.parse(route_named("upload"), upload(body, media_type))
        except CallRefused:
            continue
        assert isinstance(operation, Keep)
        assert operation.content


@pytest.mark.parametrize(
    ("boundary", "fields", "is_read"),
    [("e" * 70, 7, True), ("e" * 71, 0, False), ("e" * 100_000, 0, False), ("e", 8, False), ("e", 5000, False)],
)
def test_a_form_has_few_fields_and_a_short_boundary(boundary: str, fields: int, *, is_read: bool) -> None:
    """Eight fields, the file among them, and a boundary of seventy characters are enough; more is refused."""
    field = f'--{boundary}\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n'
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--{boundary}--\r\n'
    call = upload((field * fields + file).encode(), f"multipart/form-data; boundary={boundary}")

    try:
        operation = DIALECT.parse(route_named("upload"), call)
    except BadCall:
        operation = None

    assert (operation is not None) is is_read
