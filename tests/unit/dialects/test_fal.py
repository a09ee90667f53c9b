"""fal's language against written-down calls and answers, and against anything a caller could send."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from dialect_golden import BASE_URL, FRESH_UUID, NOW_S, cases, made_call, made_outcome, written, written_reply
from hypothesis import given
from hypothesis import strategies as st

from deployments import errors
from deployments.dialects.dialect import Call, Event, Letter, Placing, Route, Streaming, Telling
from deployments.dialects.fal import Fal
from deployments.errors import CallRefused, TargetRefused, Unauthenticated
from deployments.operations.operation import Operation, Refuse, Submit
from deployments.operations.outcome import Healthy, TaskOutcome
from deployments.tasks.task import Task
from deployments.tenants.webhook_keys import WebhookSigner

DIALECT = Fal()
RUN, SUBMIT = DIALECT.routes[:2]
REFERENCE = "http://pictures.example/a.png"
TASK_ID, REQUEST_ID = "3b1f0c5e9a7d4c62b8e45f10d2a96c77", "3b1f0c5e-9a7d-4c62-b8e4-5f10d2a96c77"
FIELDS = [
    "input_image_urls",
    "prompt",
    "negative_prompt",
    "image_size",
    "num_inference_steps",
    "guidance_scale",
    "keep_size",
    "num_images",
    "seed",
    "sync_mode",
    "enable_safety_checker",
    "output_format",
]
READ_HEADERS = ["x-fal-request-timeout", "x-fal-object-lifecycle-preference", "x-fal-file-name"]
TOLD_HEADERS = ("x-fal-request-id", "X-Fal-Error-Type", "X-Fal-Request-Timeout-Type", "Retry-After")
NUMBERS = st.integers() | st.floats() | st.sampled_from(["2", "-1", "1e9", "9" * 30, "\u0662", " 4", "true", "0"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["width", "height"]), inner),
    max_leaves=6,
)


def proxied(target: str | None) -> Call:
    """Make a call to the proxy address; without a target if that is None."""
    return Call(method="POST", path="/fal/proxy", headers={} if target is None else {"x-fal-target-url": target})


def submission(body: bytes, **rest: Any) -> Call:
    """Make a call that submits."""
    return Call(method="POST", path=SUBMIT.path, route=SUBMIT.name, base_url=BASE_URL, body=body, **rest)


def parsed(call: Call) -> Operation | None:
    """Read a submission; None where it is refused."""
    try:
        return DIALECT.parse(SUBMIT, call)
    except CallRefused:
        return None


def refusal_of(route: Route, call: Call) -> CallRefused | None:
    """Read a call; return why it is refused, if it is."""
    try:
        DIALECT.parse(route, call)
    except CallRefused as refusal:
        return refusal
    return None


@pytest.mark.parametrize("case", cases("fal", "calls.json"))
def test_call_is_understood(case: Any) -> None:
    """A good call asks for exactly the operation beside it."""
    route, call = made_call(DIALECT, case["call"])

    operation = DIALECT.parse(route, call)

    assert written(operation) == case["operation"]


@pytest.mark.parametrize("case", cases("fal", "mistakes.json"))
def test_mistake_is_named(case: Any) -> None:
    """A call with a mistake is answered with a status, the field's place and fal's word for it."""
    route, call = made_call(DIALECT, case["call"])

    with pytest.raises(CallRefused) as refusal:
        DIALECT.parse(route, call)

    assert written_reply(DIALECT.render_refusal(refusal.value, call), headers=TOLD_HEADERS) == case["reply"]


@pytest.mark.parametrize("case", cases("fal", "answers.json"))
def test_outcome_is_shown(case: Any, make_task: Callable[..., Task]) -> None:
    """A task in each of its states, and whatever else may come, is shown as the packages expect it."""
    _, call = made_call(DIALECT, case["call"])
    outcome = made_outcome(case["outcome"], make_task)

    reply = DIALECT.render(outcome, call)

    assert written_reply(reply, headers=TOLD_HEADERS) == case["reply"]


@pytest.mark.parametrize("case", cases("fal", "refusals.json"))
def test_refusal_is_shown(case: Any) -> None:
    """Every refusal has its status and words; an unknown request is told in its own way by each route."""
    _, call = made_call(DIALECT, case["call"])
    refusal = getattr(errors, case["refusal"])()

    reply = DIALECT.render_refusal(refusal, call)

    assert written_reply(reply, headers=TOLD_HEADERS) == case["reply"]


@pytest.mark.parametrize("case", cases("fal", "events.json"))
def test_end_is_told(case: Any, make_task: Callable[..., Task]) -> None:
    """A webhook carries the output of a good end and the failure of a bad one; it is the same every time."""
    outcome = made_outcome(case["outcome"], make_task)
    assert isinstance(outcome, TaskOutcome)
    event = Event(id="e1", outcome=outcome, base_url=BASE_URL)

    body = DIALECT.write_event(event)

    assert json.loads(body) == case["body"]
    assert DIALECT.write_event(event) == body


def test_hosts_of_an_operator_stand_for_those_of_fal() -> None:
    """A host name from the settings is served like fal's own, whatever port and case it comes with; others are not."""
    fal = Fal(hosts={"rest.example.org": "rest"})
    path = "/storage/upload/initiate"

    placed = [
        fal.place(Call(method="POST", path=path, headers={"host": host}))
        for host in ("REST.example.org:8443", "v3.fal.media", "example.org")
    ]

    assert placed == [f"/fal/rest{path}", f"/fal/cdn{path}", None]


@pytest.mark.parametrize("case", cases("fal", "places.json"))
def test_call_is_placed(case: Any) -> None:
    """A call by another name, a bare one and a proxied one mean the path beside them."""
    headers = {"host": case["host"]} | ({"x-fal-target-url": case["target"]} if "target" in case else {})

    meant = DIALECT.place(Call(method="POST", path=case["path"], headers=headers))

    assert meant == case["meant"]


@pytest.mark.parametrize(
    "target",
    [
        "https://fal.media/files/x.png",
        "https://v3.fal.media/files/upload",
        "http://169.254.169.254/latest",
        "https://queue.fal.run.evil.example/fal-ai/uso",
        "https://queue.fal.run@evil.example/fal-ai/uso",
        "ftp://queue.fal.run/fal-ai/uso",
        "https://[::1/fal-ai/uso",
        "queue.fal.run/fal-ai/uso",
    ],
)
def test_other_target_is_refused(target: str) -> None:
    """The proxy address refuses with 412 whatever is not one of the four hosts that are spoken here."""
    call = proxied(target)

    with pytest.raises(TargetRefused) as refusal:
        DIALECT.place(call)

    assert DIALECT.render_refusal(refusal.value, call).status == 412


def test_proxied_call_must_name_its_target() -> None:
    """A call to the proxy address without a target is a malformed one."""
    call = proxied(None)

    with pytest.raises(CallRefused) as refusal:
        DIALECT.place(call)

    assert DIALECT.render_refusal(refusal.value, call).status == 400


@given(target=st.text() | st.text().map(lambda rest: f"https://queue.fal.run/{rest}"))
def test_any_target_stays_below_the_roots(target: str) -> None:
    """No target leads anywhere but below fal's own prefixes."""
    try:
        meant = DIALECT.place(proxied(target))
    except CallRefused:
        return

    assert meant is not None
    assert meant.startswith(("/fal/run", "/fal/queue", "/fal/rest"))


@pytest.mark.parametrize(
    ("shown", "key"),
    [
        ("Key some-key", "some-key"),
        ("key id:secret", "id:secret"),
        ("Bearer some-key", "some-key"),
        ("KEY   some-key ", "some-key"),
    ],
)
def test_key_is_read(shown: str, key: str) -> None:
    """Both schemes show the key; it may contain a colon."""
    call = Call(method="GET", path="/", headers={"authorization": shown})

    assert DIALECT.api_key(call) == key


@pytest.mark.parametrize("shown", [None, "", "some-key", "Basic some-key", "Key", "Key ", "Key two keys"])
def test_other_key_is_refused(shown: str | None) -> None:
    """No key, another scheme or something that is no key is a 401."""
    call = Call(method="GET", path="/", headers={} if shown is None else {"authorization": shown})

    with pytest.raises(Unauthenticated):
        DIALECT.api_key(call)


def test_progress_is_one_event(make_task: Callable[..., Task]) -> None:
    """Each event of the stream is the state of the request on one line of data, and a blank line."""
    _, call = made_call(DIALECT, {"method": "GET", "path": f"/fal/queue/fal-ai/uso/requests/{REQUEST_ID}/status"})
    outcome = TaskOutcome(task=make_task(id=TASK_ID), pictures=(), place=4)

    event = DIALECT.render_progress(outcome, call)

    assert event == f"data: {DIALECT.render(outcome, call).body.decode()}\n\n"
    assert json.loads(event.removeprefix("data: "))["queue_position"] == 4


def test_webhook_can_be_checked() -> None:
    """The four lines that a receiver puts together are what the service's public key confirms."""
    signer = WebhookSigner("a secret of this test")
    letter = Letter(event_id="e1", tenant_id="alice", task_id=TASK_ID, body=b'{"a": 1}', sent_at_s=1_767_600_000)

    headers = dict(DIALECT.sign(letter, signer))

    digest = hashlib.sha256(letter.body).hexdigest()
    lines = f"{REQUEST_ID}\nalice\n1767600000\n{digest}".encode()
    public_key_of(signer).verify(bytes.fromhex(headers.pop("X-Fal-Webhook-Signature")), lines)
    assert headers == {
        "X-Fal-Webhook-Request-Id": REQUEST_ID,
        "X-Fal-Webhook-User-Id": "alice",
        "X-Fal-Webhook-Timestamp": "1767600000",
    }


def public_key_of(signer: WebhookSigner) -> Ed25519PublicKey:
    """Return the key of the service as a receiver reads it from the published ones."""
    [x] = signer.public_keys.values()
    return Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(f"{x}="))


def test_only_the_published_keys_are_public() -> None:
    """Everybody may read the keys of webhooks and nothing else; upload tokens open the CDN alone."""
    public = [route.path for route in DIALECT.routes if route.is_public]
    by_token = [route.path for route in DIALECT.routes if route.takes_upload_token]

    assert public == ["/fal/rest/.well-known/jwks.json"]
    assert by_token == ["/fal/cdn/files/upload", "/fal/cdn/files/upload/multipart"]


def test_does_what_the_ingress_looks_for() -> None:
    """It places calls, streams progress and tells of ends, as the ingress finds out by protocol."""
    assert isinstance(DIALECT, Placing)
    assert isinstance(DIALECT, Streaming)
    assert isinstance(DIALECT, Telling)


def test_foreign_outcome_is_a_mistake_of_ours() -> None:
    """An outcome of an operation that fal never asks for has no words here."""
    with pytest.raises(TypeError):
        DIALECT.render(Healthy(), submission(b""))


def test_refused_task_of_another_dialect_is_shown(make_task: Callable[..., Task]) -> None:
    """A refused task without the note of this dialect is told by its message."""
    written_task = {"state": "failed", "fault": {"kind": "refused", "message": "the reason"}}
    outcome = made_outcome({"task": written_task}, make_task)

    reply = DIALECT.render(outcome, Call(method="GET", path="/", route="result", fresh_uuid=FRESH_UUID))

    assert reply.status == 422
    assert b"the reason" in reply.body


@given(body=st.binary() | st.text().map(str.encode))
def test_any_body_is_understood_or_refused(body: bytes) -> None:
    """No body makes a route raise anything but CallRefused, and its reply is never a mistake of ours."""
    for route in DIALECT.routes:
        call = Call(method=route.method, path=route.path, route=route.name, path_params={"id": "x"}, body=body)
        refusal = refusal_of(route, call)

        assert refusal is None or 400 <= DIALECT.render_refusal(refusal, call).status < 500


@given(fields=st.dictionaries(st.sampled_from(FIELDS), ANY_JSON, max_size=4))
def test_any_value_in_any_field_is_understood_or_refused(fields: dict[str, Any]) -> None:
    """No value of any kind in any field raises anything but CallRefused, nor makes a reply that cannot be written."""
    body = {"input_image_urls": [REFERENCE]} | fields

    operation = parsed(submission(json.dumps(body).encode()))

    assert operation is None or isinstance(operation, Submit | Refuse)
    if isinstance(operation, Refuse):
        reply = DIALECT.render_refusal(operation.refusal, submission(b""))
        assert json.loads(operation.notes["detail"]) == json.loads(reply.body)["detail"]
        assert reply.status == 422


@given(headers=st.dictionaries(st.sampled_from(READ_HEADERS), st.text() | ANY_JSON.map(json.dumps)), url=st.text())
def test_any_header_is_understood_or_refused(headers: dict[str, str], url: str) -> None:
    """No header and no webhook address raises anything but CallRefused; what is understood makes sense."""
    body = json.dumps({"input_image_urls": [REFERENCE]}).encode()

    operation = parsed(submission(body, headers=headers, query={"fal_webhook": url}, now_s=NOW_S))

    assert operation is None or isinstance(operation, Submit)
    if operation is not None:
        assert operation.start_within_s is None or operation.start_within_s > 1
        assert operation.lifetime_s is None or operation.lifetime_s >= 1
