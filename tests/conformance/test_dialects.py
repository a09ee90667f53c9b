"""What every registered dialect owes the ingress, whatever its language."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

import pytest
from dialect_golden import GOLDEN
from dialect_golden import made_call as golden_call

from deployments import errors
from deployments.dialects import DIALECTS
from deployments.dialects.dialect import Call, Dialect, Route
from deployments.errors import CallRefused, FaultKind, InternalFault, Unauthenticated, Unavailable
from deployments.operations.operation import Batch, Cancel, Operation, Read, ReadOnce, Submit
from deployments.operations.outcome import BatchOutcome, Outcome, PartOutcome, TaskOutcome
from deployments.tasks.task import Fault, Output, Task, TaskState
from models.catalog import CATALOG

BASE_URL = "http://host:8000"
PARAMETER = re.compile(r"\{(\w+)\}")
STRANGE_TEXTS = ["", "0", "..", "%00", "a" * 100_000, "\u2028", "'; drop table tasks", "\ud800", "{id}"]
#: A picture of a task that has succeeded; its content would be ``x``.
PICTURE = Output(sink="inline", value="eA==", content_type="image/png", size_bytes=1, sha256="00", seed=7)
STRANGE_BODIES = [b"", b"{}", b"[]", b"null", b"\xff", b"{" * 100_000, b'{"a": NaN}', b'{"a": "\\ud800"}']


def refusals() -> Iterator[type[CallRefused]]:
    """List every kind of refusal that errors.py knows."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, CallRefused):
            yield kind


def made_call(route: Route, *, text: str = "1", body: bytes = b"") -> Call:
    """Make a call at a route, with one text for each variable part of its path."""
    names = PARAMETER.findall(route.path)
    path = PARAMETER.sub(lambda _: text, route.path)
    return Call(
        method=route.method,
        path=path,
        base_url=BASE_URL,
        route=route.name,
        path_params=dict.fromkeys(names, text),
        body=body,
        fresh_seed=7,
    )


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Return each dialect in turn."""
    return DIALECTS[request.param]


def test_is_registered_under_its_name(dialect: Dialect) -> None:
    """The name stored with a task leads back to its dialect."""
    assert DIALECTS[dialect.name] is dialect


def test_routes_are_its_own(dialect: Dialect) -> None:
    """Every route lies below one of the dialect's roots, and no two share a method and a path."""
    addresses = [(route.method, PARAMETER.sub("{}", route.path)) for route in dialect.routes]

    assert len(set(addresses)) == len(addresses)
    assert all(route.method == route.method.upper() for route in dialect.routes)
    assert all(any(f"{route.path}/".startswith(f"{root}/") for root in dialect.roots) for route in dialect.routes)


def test_roots_belong_to_one_dialect() -> None:
    """No path is below the roots of two dialects."""
    roots = [root for dialect in DIALECTS.values() for root in dialect.roots]

    assert len(set(roots)) == len(roots)
    assert all(root.startswith("/") and not root.endswith("/") for root in roots)


@pytest.mark.parametrize("kind", list(refusals()))
def test_refusal_says_whose_mistake_it_was(dialect: Dialect, kind: type[CallRefused]) -> None:
    """Each kind of refusal keeps its class of status and shows its message, at addresses without a route too."""
    call = Call(method="PATCH", path=f"{dialect.roots[0]}/nowhere", base_url=BASE_URL)

    reply = dialect.render_refusal(kind("told to the caller"), call)

    assert reply.status // 100 == kind.http_status // 100
    # What a key is called, and so what is said of its second use, is each dialect's own.
    assert b"told to the caller" in reply.body or kind is errors.KeyReused
    assert reply.content_type == "application/json"


@pytest.mark.parametrize("kind", list(refusals()))
def test_no_final_answer_looks_like_one_to_repeat(dialect: Dialect, kind: type[CallRefused]) -> None:
    """Clients repeat 408, 409, 429 and what is from 500 on by themselves, so only what passes is answered like that."""
    call = Call(method="POST", path=dialect.roots[0], base_url=BASE_URL)

    reply = dialect.render_refusal(kind(), call)

    assert reply.status not in {408, 409}
    assert (reply.status == 429) == issubclass(kind, errors.Overloaded)
    assert (reply.status == 503) == issubclass(kind, Unavailable)
    assert (reply.status == 500) == issubclass(kind, InternalFault)


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.Unavailable])
def test_trouble_that_passes_says_when_to_come_back(dialect: Dialect, kind: type[CallRefused]) -> None:
    """Overload and unavailability carry Retry-After in whole seconds."""
    reply = dialect.render_refusal(kind(), Call(method="GET", path=dialect.roots[0], base_url=BASE_URL))

    assert int(reply.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": ""}, {"authorization": "Digest abc"}, {"authorization": "\ud800"}]
)
@pytest.mark.parametrize("body", [b"{}", b"[]", b"[{}]", b"\xff"])
def test_missing_key_is_unauthenticated(dialect: Dialect, headers: dict[str, str], body: bytes) -> None:
    """A call without a readable key is refused as such, at the latest when its body is there."""
    call = Call(method="POST", path=dialect.roots[0], base_url=BASE_URL, headers=headers, body=body)

    with pytest.raises(Unauthenticated):
        dialect.api_key(call)


@pytest.mark.parametrize("text", STRANGE_TEXTS)
@pytest.mark.parametrize("body", STRANGE_BODIES)
def test_strange_call_is_understood_or_refused(dialect: Dialect, text: str, body: bytes) -> None:
    """Whatever stands where an id belongs or in the body, every route understands it or refuses it."""
    for route in dialect.routes:
        try:
            operation = dialect.parse(route, made_call(route, text=text, body=body))
        except CallRefused:
            continue
        assert isinstance(operation, get_args(Operation))


def golden_calls(dialect: Dialect) -> Iterator[tuple[Call, Operation]]:
    """Yield the written-down good calls of a dialect that are about a task, with what they ask for."""
    for written in json.loads((GOLDEN / dialect.name / "calls.json").read_text(encoding="utf-8")):
        route, call = golden_call(dialect, written["call"])
        operation = dialect.parse(route, call)
        parts = [part.operation for part in operation.parts] if isinstance(operation, Batch) else [operation]
        if all(isinstance(part, Submit | Read | ReadOnce | Cancel) for part in parts):
            yield replace(call, body=b""), operation


def outcome_of(operation: Operation, shown: TaskOutcome) -> Outcome:
    """Return a task as what came of an operation, or of each part of it."""
    if not isinstance(operation, Batch):
        return shown
    return BatchOutcome(parts=tuple(PartOutcome(notes=part.notes, outcome=shown) for part in operation.parts))


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("model", CATALOG)
def test_every_state_is_shown(dialect: Dialect, state: TaskState, model: str, make_task: Callable[..., Task]) -> None:
    """A task of any model in any state is shown by every call about tasks, and never as trouble that may pass."""
    fault = Fault(kind=FaultKind.REFERENCE_UNUSABLE, message="half: \ud800") if state is TaskState.FAILED else None
    outputs = (PICTURE,) if state is TaskState.SUCCEEDED else ()
    task = make_task(state=state, model=model, fault=fault, dialect=dialect.name, outputs=outputs)
    shown = TaskOutcome(task=task, pictures=("eA==",) * len(outputs))
    calls = list(golden_calls(dialect))

    replies = [dialect.render(outcome_of(asked, shown), call) for call, asked in calls]

    assert replies
    assert all(reply.status not in {408, 409, 429, 500} for reply in replies), replies
    # Whoever cannot be told of a task that goes on, or was cancelled, is told that the service has no answer.
    assert all(reply.status < 500 for reply in replies) or state not in {TaskState.SUCCEEDED, TaskState.FAILED}


@pytest.mark.parametrize("model", CATALOG)
def test_an_erased_task_still_says_that_it_went_well(
    dialect: Dialect, model: str, make_task: Callable[..., Task]
) -> None:
    """Once its pictures and what its dialect noted in its caller's words are gone, every call about it is answered."""
    task = make_task(state=TaskState.SUCCEEDED, model=model, dialect=dialect.name)
    shown = TaskOutcome(task=task, pictures=())
    calls = list(golden_calls(dialect))

    replies = [dialect.render(outcome_of(asked, shown), call) for call, asked in calls]

    assert replies
    assert {reply.status // 100 for reply in replies} <= {2, 4}  # 4: it has ended, and cannot be cancelled


@pytest.mark.parametrize("kind", sorted(set(FaultKind) - {FaultKind.TOO_LATE}))
def test_every_fault_is_told(dialect: Dialect, kind: FaultKind, make_task: Callable[..., Task]) -> None:
    """A task that failed tells why, whatever the reason, to every call that asks for its result."""
    task = make_task(state=TaskState.FAILED, fault=Fault(kind=kind, message="the reason"), dialect=dialect.name)
    calls = list(golden_calls(dialect))

    told = [dialect.render(outcome_of(asked, TaskOutcome(task=task, pictures=())), call).body for call, asked in calls]

    assert any(b"the reason" in body for body in told)
