"""What every registered dialect owes the ingress, whatever its language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from deployments import errors
from deployments.dialects import DIALECTS
from deployments.dialects.dialect import Call, Dialect, Route
from deployments.errors import CallRefused, FaultKind, Unauthenticated
from deployments.operations import Outcome, Read, Submit
from deployments.tasks.task import Fault, Task, TaskState
from models.catalog import CATALOG

BASE_URL = "http://host:8000"
PARAMETER = re.compile(r"\{(\w+)\}")
STRANGE_TEXTS = ["", "0", "..", "%00", "a" * 100_000, "\u2028", "'; drop table tasks", "\ud800", "{id}"]
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
def test_refusal_keeps_its_status(dialect: Dialect, kind: type[CallRefused]) -> None:
    """Each kind of refusal is answered with its own status and shows its message, at addresses without a route too."""
    call = Call(method="PATCH", path=f"{dialect.roots[0]}/nowhere", base_url=BASE_URL)

    reply = dialect.render_refusal(kind("told to the caller"), call)

    assert reply.status == kind.http_status
    assert b"told to the caller" in reply.body
    assert reply.content_type == "application/json"


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.Unavailable])
def test_trouble_that_passes_says_when_to_come_back(dialect: Dialect, kind: type[CallRefused]) -> None:
    """Overload and unavailability carry Retry-After in whole seconds."""
    reply = dialect.render_refusal(kind(), Call(method="GET", path=dialect.roots[0], base_url=BASE_URL))

    assert int(reply.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": ""}, {"authorization": "Digest abc"}, {"authorization": "\ud800"}]
)
def test_missing_key_is_unauthenticated(dialect: Dialect, headers: dict[str, str]) -> None:
    """A call without a readable key is refused as such."""
    call = Call(method="GET", path=dialect.roots[0], base_url=BASE_URL, headers=headers)

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
        assert isinstance(operation, Submit | Read)


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("model", CATALOG)
def test_every_state_is_shown(dialect: Dialect, state: TaskState, model: str, make_task: Callable[..., Task]) -> None:
    """A task of any model in any state is shown, also where another dialect accepted it."""
    fault = Fault(kind=FaultKind.ENGINE_FAILED, message="half a pair: \ud800") if state is TaskState.FAILED else None
    task = make_task(state=state, model=model, fault=fault)
    call = made_call(dialect.routes[-1])

    reply = dialect.render(Outcome(task=task, pictures=("x",) if state is TaskState.SUCCEEDED else ()), call)

    assert 200 <= reply.status < 300
    assert task.id.encode() in reply.body


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_is_shown(dialect: Dialect, kind: FaultKind, make_task: Callable[..., Task]) -> None:
    """A task that failed tells why, whatever the reason, and never as an error of this server."""
    task = make_task(state=TaskState.FAILED, fault=Fault(kind=kind, message="the reason"))

    reply = dialect.render(Outcome(task=task, pictures=()), made_call(dialect.routes[-1]))

    assert reply.status < 500
    assert b"the reason" in reply.body


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.RUNNING])
def test_giving_up_the_wait_keeps_the_id(dialect: Dialect, state: TaskState, make_task: Callable[..., Task]) -> None:
    """A caller whose wait was cut short still learns which task goes on."""
    task = make_task(state=state)

    reply = dialect.render(Outcome(task=task, pictures=(), is_awaited=True), made_call(dialect.routes[0]))

    assert task.id.encode() in reply.body
