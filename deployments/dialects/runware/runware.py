"""Runware's dialect: arrays of task objects, by POST or as frames of a WebSocket.

    POST /v1, frame ──► Batch ──► BatchOutcome ──► render        {"data": [...], "errors": [...]}, one reply
                          └─────► part by part ──► render_part   the same keys, one frame for each task

Tasks are named by their callers and count once. Source: Runware API reference, and the packages runware 0.5.24,
runware-sdk 1.8.0 (Python) and @runware/sdk-js 1.3.2, seen 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from deployments.dialects.dialect import Call, Event, Letter, Reply, Route
from deployments.dialects.headers import authorization_key, retry_after
from deployments.dialects.runware.answers import Answer, answer_of, results_of, written_answers
from deployments.dialects.runware.mistakes import InvalidKey, mistake_of
from deployments.dialects.runware.tasks import read_batch, read_greeting, shown_key
from deployments.errors import CallRefused, Unauthenticated
from deployments.operations.operation import Batch
from deployments.operations.outcome import BatchOutcome, Outcome, PartOutcome, Told
from deployments.tasks.task import TaskState
from models.catalog import CATALOG, UNO, USO

if TYPE_CHECKING:
    from deployments.tenants.webhook_keys import WebhookSigner

#: What our models are called here.
MODELS: Mapping[str, str] = MappingProxyType({"bytedance:uso@1": USO.name, "bytedance:uno@1": UNO.name})

_NO_ALIASES: Mapping[str, str] = MappingProxyType({})


class Runware:
    """Runware's tasks.

    Args:
        aliases: more model ids, such as ``luma:uni@1``, and the catalog name of the model that answers to each.

    Raises:
        KeyError: when an alias is for a model that the catalog does not have.
    """

    name: str = "runware"
    roots: Sequence[str] = ("/v1",)
    routes: Sequence[Route] = (
        Route(method="POST", path="/v1", name="batch"),
        Route(method="POST", path="/v1/", name="batch"),
    )
    socket: Route = Route(method="FRAME", path="/v1", name="frame")

    def __init__(self, aliases: Mapping[str, str] = _NO_ALIASES) -> None:
        self._models = {given: CATALOG[name] for given, name in {**MODELS, **aliases}.items()}

    def __repr__(self) -> str:
        """Name the models that can be asked for."""
        return f"<Runware [{', '.join(self._models)}]>"

    def api_key(self, call: Call) -> str | None:
        """Return the key of the header or of the first task; a frame has no header of its own."""
        if call.method != self.socket.method and call.headers.get("authorization"):
            return _header_key(call)
        return shown_key(call.body) if call.body else None

    def parse(self, route: Route, call: Call) -> Batch:  # noqa: ARG002 -- frames and posts say the same
        """Read every task; a mistake in one becomes its own refusal."""
        return read_batch(call, self._models)

    def render(self, outcome: Outcome, call: Call) -> Reply:
        """Join what came of all tasks; it is a good answer as soon as one of them has something to show."""
        answers = tuple(answer_of(part.outcome, part.notes, call.base_url) for part in _told_parts(outcome))
        return _reply(answers, call.base_url)

    def render_refusal(self, refusal: CallRefused, call: Call) -> Reply:
        """Write why the call as a whole was refused."""
        # A refused key has no taskUUID: the older Python package waits for ever unless the error names this type.
        notes = {"taskType": "authentication"} if isinstance(refusal, Unauthenticated) else {}
        return _reply((Answer(mistake=mistake_of(refusal, ""), notes=notes),), call.base_url)

    def greet(self, call: Call) -> Reply | None:
        """Write the welcome to a frame that does nothing but show a key."""
        greeting = read_greeting(call)
        if greeting is None:
            return None
        return self.render_part(Told(subject=greeting.subject, notes=greeting.notes), {}, call)

    def render_part(self, outcome: Outcome | CallRefused, notes: Mapping[str, str], call: Call) -> Reply | None:
        """Write the frame of one task."""
        return _reply((answer_of(outcome, notes, call.base_url),), call.base_url)

    def write_event(self, event: Event) -> bytes:
        """Write a finished picture or a failed task; a cancelled one is nobody's news."""
        if event.outcome.task.state is TaskState.CANCELLED:
            return b""
        answer = results_of(event.outcome)
        if answer.mistake is None and event.picture is not None:
            answer = Answer(items=answer.items[event.picture : event.picture + 1], notes=answer.notes)
        return _written((answer,), event.base_url)

    def sign(self, letter: Letter, signer: WebhookSigner) -> Mapping[str, str]:  # noqa: ARG002 -- the protocol's
        """Return nothing: callers put a secret into the query of their address instead."""
        return {}


def _header_key(call: Call) -> str:
    try:
        return authorization_key(call)
    except Unauthenticated as error:
        raise InvalidKey from error


def _told_parts(outcome: Outcome) -> tuple[PartOutcome, ...]:
    """Return the parts that are answered: a key shown before other tasks is not."""
    parts = outcome.parts if isinstance(outcome, BatchOutcome) else (PartOutcome(notes={}, outcome=outcome),)
    asked = tuple(part for part in parts if not _is_welcome(part))
    return asked or parts[:1]


def _is_welcome(part: PartOutcome) -> bool:
    return isinstance(part.outcome, Told) and part.outcome.subject == "authentication"


def _reply(answers: tuple[Answer, ...], base_url: str) -> Reply:
    first = next((answer.mistake for answer in answers if answer.mistake is not None), None)
    if first is None or any(answer.items for answer in answers):
        return Reply(status=200, body=_written(answers, base_url))
    headers = retry_after(first.retry_after_s)
    return Reply(status=first.status, body=_written(answers, base_url), headers=headers)


def _written(answers: tuple[Answer, ...], base_url: str) -> bytes:
    return json.dumps(written_answers(answers, base_url)).encode("ascii")
