"""Runware's language against written-down calls and answers, and against anything a caller could send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from dialect_golden import BASE_URL, MakeTask, cases, made_call, made_outcome, made_task, written, written_reply
from hypothesis import given
from hypothesis import strategies as st

from deployments import errors
from deployments.dialects.dialect import Call, Conversing, Event, Letter, Reply, Telling
from deployments.dialects.runware.runware import Runware
from deployments.dialects.runware.schema import SCHEMA
from deployments.errors import BadField, CallRefused, NotJson, Unauthenticated
from deployments.operations.operation import Batch, Part, Submit
from deployments.operations.outcome import BatchOutcome, Outcome, PartOutcome, TaskOutcome
from deployments.tenants.webhook_keys import WebhookSigner

DIALECT = Runware()
TASK_UUID = "a770f077-f413-47de-9dac-be0b26a35da6"
SESSION_UUID = "c3a1de51-8f0b-4d70-9d3e-5d2f0a6f4b11"
INFERENCE = {"taskType": "imageInference", "taskUUID": TASK_UUID, "model": "bytedance:uso@1", "positivePrompt": "a cat"}
REFERENCE = "https://pictures.example/a.png"
SIGNED_IN = {"authorization": "Bearer KEY"}


def call_of(*tasks: Any, headers: Mapping[str, str] = SIGNED_IN) -> Call:
    """Make a call that posts tasks."""
    written_call = {"method": "POST", "path": "/v1", "headers": headers, "json": list(tasks)}
    return made_call(DIALECT, written_call)[1]


def frame_of(*tasks: Any) -> Call:
    """Make a frame of a WebSocket that holds tasks."""
    return replace(call_of(*tasks, headers={}), method="FRAME", route="frame")


def parsed(call: Call) -> Batch:
    """Read the tasks of a call."""
    return DIALECT.parse(DIALECT.routes[0], call)


def submission(**members: Any) -> Submit:
    """Read one imageInference task with some members changed."""
    operation = parsed(call_of(INFERENCE | members)).parts[0].operation
    assert isinstance(operation, Submit)
    return operation


def without(value: Any, *names: str) -> Any:
    """Return a written value without some members, however deep."""
    if isinstance(value, dict):
        return {name: without(each, *names) for name, each in value.items() if name not in names}
    return [without(each, *names) for each in value] if isinstance(value, list) else value


def outcome_of(part: Part, entry: Mapping[str, Any], make_task: MakeTask) -> Outcome | CallRefused:
    """Return what came of a part, as an entry says; a refusal of the part itself if it says nothing."""
    if isinstance(part.operation, CallRefused):
        return part.operation
    if "fault" in entry:
        assert isinstance(part.operation, Submit)
        task = {"state": "failed", "fault": entry["fault"], "notes": part.operation.notes}
        return TaskOutcome(task=made_task(task, make_task), pictures=(), is_awaited=True)
    if "refusal" in entry:
        refusal: CallRefused = getattr(errors, entry["refusal"])()
        return refusal
    return made_outcome(entry, make_task)


@pytest.mark.parametrize("case", cases("runware", "calls.json"))
def test_call_is_understood(case: Any) -> None:
    """A good call asks for exactly the operations beside it."""
    route, call = made_call(DIALECT, case["call"])

    batch = DIALECT.parse(route, call)

    assert DIALECT.api_key(call) == "KEY"
    assert without(written(batch), "body", "fingerprint") == case["operation"]


@pytest.mark.parametrize("case", cases("runware", "mistakes.json"))
def test_mistake_is_named(case: Any, make_task: MakeTask) -> None:
    """A mistake is answered with its code, the member it is about, and the task it belongs to."""
    route, call = made_call(DIALECT, case["call"])

    try:
        DIALECT.api_key(call)
        parts = DIALECT.parse(route, call).parts
        outcomes = (PartOutcome(notes=part.notes, outcome=outcome_of(part, case, make_task)) for part in parts)
        reply = DIALECT.render(BatchOutcome(parts=tuple(outcomes)), call)
    except CallRefused as refusal:
        reply = DIALECT.render_refusal(refusal, call)

    assert written_reply(reply) == case["reply"]


@pytest.mark.parametrize("case", cases("runware", "answers.json"))
def test_outcome_is_shown(case: Any, make_task: MakeTask) -> None:
    """What came of the tasks of a call is joined into one reply, without an empty key."""
    route, call = made_call(DIALECT, case["call"])
    parts = zip(DIALECT.parse(route, call).parts, case["outcomes"], strict=True)
    outcomes = (PartOutcome(notes=part.notes, outcome=outcome_of(part, entry, make_task)) for part, entry in parts)

    reply = DIALECT.render(BatchOutcome(parts=tuple(outcomes)), call)

    assert written_reply(reply) == case["reply"]


@pytest.mark.parametrize("case", cases("runware", "answers.json"))
def test_frame_speaks_of_one_task(case: Any, make_task: MakeTask) -> None:
    """Over a WebSocket each task has a frame of its own, with data or errors and never both."""
    route, call = made_call(DIALECT, case["call"])

    for part, entry in zip(DIALECT.parse(route, call).parts, case["outcomes"], strict=True):
        frame = DIALECT.render_part(outcome_of(part, entry, make_task), part.notes, call)

        assert frame is not None
        told = json.loads(frame.body)
        [entries] = told.values()
        assert {each.get("taskUUID") for each in entries} == {part.notes.get("taskUUID")}


@pytest.mark.parametrize("case", cases("runware", "refusals.json"))
def test_refusal_is_shown(case: Any) -> None:
    """A refusal of the whole call has its status, its code and, where waiting helps, how long to wait."""
    refusal = getattr(errors, case["refusal"])()

    reply = DIALECT.render_refusal(refusal, call_of())

    assert written_reply(reply) | {"headers": dict(reply.headers)} == case["reply"]


@pytest.mark.parametrize("refusal", [errors.Overloaded(), errors.Unavailable()])
def test_batch_says_when_to_come_back(refusal: CallRefused) -> None:
    """A batch whose only task was turned away for now says how long to wait."""
    part = PartOutcome(notes={"taskType": "imageInference", "taskUUID": TASK_UUID}, outcome=refusal)

    reply = DIALECT.render(BatchOutcome(parts=(part,)), call_of())

    assert reply.headers["Retry-After"] == "2"


@pytest.mark.parametrize("shown", ["Bearer KEY", "bearer KEY", "BEARER   KEY "])
def test_key_of_the_header_is_read(shown: str) -> None:
    """The scheme's case does not count, nor do blanks around the key; the body does not matter then."""
    call = call_of({"taskType": "authentication", "apiKey": "other"}, headers={"authorization": shown})

    assert DIALECT.api_key(call) == "KEY"


def test_key_may_be_in_a_body_that_is_not_there_yet() -> None:
    """Without a header and before the body, nobody is turned away."""
    assert DIALECT.api_key(Call(method="POST", path="/v1")) is None


@pytest.mark.parametrize("shown", ["KEY", "Key KEY", "Bearer", "Bearer ", "Bearer two keys"])
def test_other_scheme_is_refused(shown: str) -> None:
    """A header that is no bearer key is not made good by the body."""
    call = call_of({"taskType": "authentication", "apiKey": "KEY"}, headers={"authorization": shown})

    with pytest.raises(Unauthenticated):
        DIALECT.api_key(call)


def test_frame_shows_its_key_itself() -> None:
    """Headers of the handshake do not count: the first frame has to log in."""
    frame = replace(frame_of(INFERENCE), headers=SIGNED_IN)

    with pytest.raises(Unauthenticated):
        DIALECT.api_key(frame)


def test_login_is_welcomed() -> None:
    """A frame that only logs in is answered with the session it names, and with no taskUUID."""
    login = {
        "taskType": "authentication",
        "apiKey": "KEY",
        "connectionSessionUUID": SESSION_UUID,
        "taskUUID": TASK_UUID,
    }

    reply = DIALECT.greet(frame_of(login))

    assert reply is not None
    assert json.loads(reply.body) == {
        "data": [{"taskType": "authentication", "connectionSessionUUID": SESSION_UUID}],
    }


@pytest.mark.parametrize("session", [None, 7, "", "no uuid"])
def test_login_without_a_session_gets_one(session: Any) -> None:
    """Whatever is no UUID is not sent back; the session is a new one."""
    frame = frame_of({"taskType": "authentication", "apiKey": "KEY", "connectionSessionUUID": session})

    reply = DIALECT.greet(frame)

    assert reply is not None
    assert json.loads(reply.body)["data"][0]["connectionSessionUUID"] == frame.fresh_uuid


def test_frame_that_asks_for_more_is_not_greeted() -> None:
    """A frame that logs in and asks for something is left to be performed part by part."""
    frame = frame_of({"taskType": "authentication", "apiKey": "KEY"}, INFERENCE)

    assert DIALECT.greet(frame) is None


def test_speaks_over_sockets_and_webhooks() -> None:
    """It keeps the protocols by which the ingress finds out that it may be asked."""
    assert isinstance(DIALECT, Conversing)
    assert isinstance(DIALECT, Telling)


def test_task_is_kept_as_sent() -> None:
    """Details show the task as it was sent, and of a picture in it no more than its start."""
    picture = "data:image/png;base64," + "A" * 3000

    submit = submission(inputs={"referenceImages": [{"image": picture}]}, seed=0)

    assert submit.body is not None
    shown = {"referenceImages": [{"image": "data:image/png;base64," + "A" * 18 + "…"}]}
    assert json.loads(submit.body) == INFERENCE | {"inputs": shown, "seed": 0}


def test_fingerprint_tells_tasks_apart() -> None:
    """The order of members does not change a fingerprint; every value does."""
    fingerprints = [
        submit.once.fingerprint
        for submit in (submission(seed=1, steps=2), submission(steps=2, seed=1), submission(seed=2, steps=2))
        if submit.once is not None
    ]

    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_operator_maps_more_models() -> None:
    """A model id that the operator gave to USO is USO; without that it is nobody's."""
    task = INFERENCE | {"model": "luma:uni@1"}

    mapped = Runware(aliases={"luma:uni@1": "uso"}).parse(DIALECT.routes[0], call_of(task)).parts[0].operation
    unmapped = parsed(call_of(task)).parts[0].operation

    assert isinstance(mapped, Submit)
    assert mapped.request.model == "uso"
    assert isinstance(unmapped, BadField)


def test_uploads_of_one_batch_have_names_of_their_own() -> None:
    """Two pictures in one batch are kept under two names, and the same batch sent later under two others."""
    uploads = [
        {"taskType": "imageUpload", "taskUUID": TASK_UUID, "image": REFERENCE},
        {"taskType": "imageUpload", "taskUUID": SESSION_UUID, "image": REFERENCE},
    ]
    later = replace(call_of(*uploads), fresh_uuid="99999999-2222-4333-8444-555555555555")

    parts = (*parsed(call_of(*uploads)).parts, *parsed(later).parts)

    assert len({str(written(part.operation)) for part in parts}) == 4


@pytest.mark.parametrize("case", cases("runware", "events.json"))
def test_end_is_told(case: Any, make_task: MakeTask) -> None:
    """Each finished picture has a webhook of its own, a failed task has one, and a cancelled task is told to nobody."""
    outcome = made_outcome(case["outcome"], make_task)
    assert isinstance(outcome, TaskOutcome)
    event = Event(id="1", outcome=outcome, picture=case["picture"], base_url=BASE_URL)

    body = DIALECT.write_event(event)

    assert json.loads(body or b"null") == case["body"]
    assert DIALECT.write_event(event) == body


def test_webhook_is_not_signed() -> None:
    """No header is added to a webhook."""
    letter = Letter(event_id="1", tenant_id="alice", task_id="2", body=b"{}", sent_at_s=0)

    assert DIALECT.sign(letter, WebhookSigner("secret")) == {}


MEMBERS = sorted({name for members in SCHEMA.values() for name in members})
WORDS = [REFERENCE, "URL", "sync", "upload", "delete", "getDetails", "bytedance:uno@1", TASK_UUID, *SCHEMA]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text() | st.sampled_from(MEMBERS), inner, max_size=3)
    ),
    max_leaves=6,
)


def replies_to(call: Call) -> list[Reply]:
    """Answer a call as the ingress would, with a refusal for every task that was understood."""
    try:
        DIALECT.api_key(call)
        DIALECT.greet(call)
        parts = parsed(call).parts
    except CallRefused as refusal:
        return [DIALECT.render_refusal(refusal, call)]
    outcomes = [part.operation if isinstance(part.operation, CallRefused) else errors.NotFound() for part in parts]
    frames = [DIALECT.render_part(each, part.notes, call) for each, part in zip(outcomes, parts, strict=True)]
    whole = tuple(PartOutcome(notes=part.notes, outcome=each) for each, part in zip(outcomes, parts, strict=True))
    return [*(frame for frame in frames if frame is not None), DIALECT.render(BatchOutcome(parts=whole), call)]


@given(
    body=st.binary() | ANY_JSON.map(lambda value: json.dumps([value]).encode()),
    authorization=st.none() | st.text() | st.just("Bearer KEY"),
    method=st.sampled_from(["POST", "FRAME"]),
)
def test_any_call_is_understood_or_refused(body: bytes, authorization: str | None, method: str) -> None:
    """No body and no header raises anything but CallRefused, and every mistake is the caller's."""
    headers = {} if authorization is None else {"authorization": authorization}
    call = Call(method=method, path="/v1", base_url=BASE_URL, headers=headers, body=body)

    replies = replies_to(call)

    assert all(reply.status in {200, 400, 401, 404} for reply in replies)
    assert all(json.loads(reply.body)["errors"] for reply in replies if reply.status != 200)


@given(task_type=st.sampled_from(list(SCHEMA)), members=st.dictionaries(st.sampled_from(MEMBERS), ANY_JSON, max_size=4))
def test_any_value_in_any_member_is_understood_or_refused(task_type: str, members: dict[str, Any]) -> None:
    """No value of any kind in any member of any task raises anything but CallRefused."""
    usual = INFERENCE if task_type == "imageInference" else {"taskType": task_type, "taskUUID": TASK_UUID}
    call = call_of({**usual, **members})

    try:
        [part] = parsed(call).parts
    except NotJson:
        return

    assert isinstance(part.operation, CallRefused) or written(part.operation)
    assert all(isinstance(value, str) for value in part.notes.values())
