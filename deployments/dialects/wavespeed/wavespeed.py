"""WaveSpeedAI's v3 language as a dialect: its addresses, and what is read and written at each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from deployments.dialects.dialect import Call, Event, Letter, Reply, Route
from deployments.dialects.headers import authorization_key
from deployments.dialects.wavespeed import answers, events, predictions, submissions, uploads
from deployments.dialects.wavespeed.vocabulary import NAME
from deployments.errors import CallRefused
from deployments.operations.operation import Operation, ReadBalance, ReadWebhookSecret, Tell
from deployments.operations.outcome import Outcome, TaskOutcome

if TYPE_CHECKING:
    from deployments.tenants.webhook_keys import WebhookSigner


class WaveSpeed:
    """WaveSpeedAI v3."""

    name: str = NAME
    roots: Sequence[str] = ("/api/v3",)
    routes: Sequence[Route] = (
        Route(method="POST", path="/api/v3/wavespeed-ai/uno", name="submit_uno"),
        Route(method="POST", path="/api/v3/bytedance/uso", name="submit_uso"),
        Route(method="GET", path="/api/v3/predictions/{id}/result", name="result"),
        Route(method="GET", path="/api/v3/predictions/{id}/stream", name="stream"),
        Route(method="POST", path="/api/v3/predictions/{id}/deliver", name="deliver"),
        Route(method="POST", path="/api/v3/predictions/delete", name="delete_many"),
        Route(method="GET", path="/api/v3/predictions/{id}", name="result"),
        Route(method="DELETE", path="/api/v3/predictions/{id}", name=answers.DELETE_ONE),
        Route(method="POST", path="/api/v3/predictions", name="list_by_body"),
        Route(method="GET", path="/api/v3/predictions", name="list_by_query"),
        Route(method="POST", path="/api/v3/media/uploads", name="grant_upload"),
        Route(method="POST", path="/api/v3/media/upload/binary", name="upload"),
        Route(method="POST", path="/api/v3/upload", name="upload"),
        Route(method="GET", path="/api/v3/webhook/secret", name="webhook_secret"),
        Route(method="GET", path="/api/v3/balance", name="balance"),
        Route(method="GET", path="/api/v3/account/balance", name="balance"),
        Route(method="POST", path="/api/v3/model/pricing", name="quote"),
        Route(method="GET", path="/api/v3/models", name="models"),
    )

    def api_key(self, call: Call) -> str | None:
        """Return the bearer key of the ``Authorization`` header."""
        return authorization_key(call)

    def parse(self, route: Route, call: Call) -> Operation:
        """Read what is asked for at one of the addresses."""
        return _READERS[route.name](call)

    def render(self, outcome: Outcome, call: Call) -> Reply:
        """Write what came of it; that a task failed is still a good answer."""
        return answers.answer(outcome, call)

    def render_refusal(self, refusal: CallRefused, call: Call) -> Reply:  # noqa: ARG002 -- the protocol's argument
        """Write the refusal's status and words."""
        return answers.refuse(refusal)

    def stream_headers(self, outcome: TaskOutcome, call: Call) -> Mapping[str, str]:  # noqa: ARG002 -- the protocol's
        """Return none: everything is in the events."""
        return {}

    def render_progress(self, outcome: TaskOutcome, call: Call) -> str:
        """Write one event of a task that is followed."""
        return events.progress(outcome, call)

    def write_event(self, event: Event) -> bytes:
        """Write the body of a webhook; empty for a task of whose end nobody is told."""
        return events.webhook_body(event)

    def sign(self, letter: Letter, signer: WebhookSigner) -> Mapping[str, str]:
        """Return the headers with which a receiver can tell that a webhook is ours."""
        return events.webhook_headers(letter, signer)


_READERS: Mapping[str, Callable[[Call], Operation]] = MappingProxyType(
    {
        "submit_uno": submissions.submit_uno,
        "submit_uso": submissions.submit_uso,
        "result": predictions.read,
        "stream": predictions.watch,
        "deliver": predictions.deliver,
        answers.DELETE_ONE: predictions.delete_one,
        "delete_many": predictions.delete_many,
        "list_by_body": predictions.list_by_body,
        "list_by_query": predictions.list_by_query,
        "grant_upload": uploads.grant_upload,
        "upload": uploads.keep,
        "webhook_secret": lambda _: ReadWebhookSecret(),
        "balance": lambda _: ReadBalance(),
        "quote": submissions.quote,
        "models": lambda _: Tell(subject="models"),
    }
)
