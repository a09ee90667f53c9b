"""fal's language: its addresses, and what is read and written at each.

A queue takes the request at once and is asked for its end; a run is held until then.
Source: fal's model API pages and the client packages fal-client 1.0.3, @fal-ai/client 1.10.1, seen 2026-11.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from deployments.dialects.dialect import Call, Event, Letter, Reply, Route
from deployments.dialects.fal import answers, wishes
from deployments.dialects.fal.mistakes import failed_call
from deployments.dialects.fal.places import CDN, HOSTS, QUEUE, REST, ROLES, RUN, placed
from deployments.dialects.headers import authorization_key, retry_after
from deployments.errors import BodyTooLarge, CallRefused, NotFound
from deployments.operations.operation import Cancel, IssueUploadToken, Operation, Read, ReadWebhookKeys, Watch
from deployments.operations.outcome import Granted, Kept, Outcome, TaskOutcome, UploadToken, WebhookKeys

if TYPE_CHECKING:
    from deployments.tenants.webhook_keys import WebhookSigner

_REQUEST = f"{QUEUE}/fal-ai/uso/requests/{{id}}"
_NO_HOSTS: Mapping[str, str] = MappingProxyType({})
_ABOUT_ONE_REQUEST = ("status", "stream", "result")


class Fal:
    """fal's run, queue, REST and CDN hosts for ``fal-ai/uso``.

    Args:
        hosts: an operator's own host names, and for which of ``run``, ``queue``, ``rest`` and ``cdn`` each stands.

    Raises:
        KeyError: when a host is for a role that there is not.
    """

    name: str = wishes.NAME
    roots: Sequence[str] = ("/fal", "/fal-ai")
    routes: Sequence[Route] = (
        Route(method="POST", path=f"{RUN}/fal-ai/uso", name="run"),
        Route(method="POST", path=f"{QUEUE}/fal-ai/uso", name="submit"),
        Route(method="GET", path=f"{_REQUEST}/status/stream", name="stream"),
        Route(method="GET", path=f"{_REQUEST}/status", name="status"),
        Route(method="GET", path=_REQUEST, name="result"),
        Route(method="PUT", path=f"{_REQUEST}/cancel", name="cancel"),
        Route(method="GET", path=f"{REST}/.well-known/jwks.json", name="webhook_keys", is_public=True),
        Route(method="POST", path=f"{REST}/storage/upload/initiate", name="announce"),
        Route(method="POST", path=f"{REST}/storage/upload/initiate-multipart", name="upload_in_parts"),
        Route(method="POST", path=f"{REST}/storage/auth/token", name="upload_token"),
        Route(method="POST", path=f"{CDN}/files/upload", name="upload", takes_upload_token=True),
        Route(method="POST", path=f"{CDN}/files/upload/multipart", name="upload_in_parts", takes_upload_token=True),
    )

    def __init__(self, hosts: Mapping[str, str] = _NO_HOSTS) -> None:
        self._hosts = {**HOSTS, **{host: ROLES[role] for host, role in hosts.items()}}

    def __repr__(self) -> str:
        """Name the hosts it answers to."""
        return f"<Fal [{', '.join(self._hosts)}]>"

    def place(self, call: Call) -> str | None:
        """Return the path below ``/fal`` that a call means; of a proxied call with its query, after a ``?``."""
        return placed(call, self._hosts)

    def api_key(self, call: Call) -> str:
        """Return the key, or the upload token, of the ``Authorization`` header."""
        return authorization_key(call, schemes=("key", "bearer"))

    def parse(self, route: Route, call: Call) -> Operation:
        """Read what the caller wants, with or without a request that exists."""
        if "id" in call.path_params:
            return _about_request(route.name, answers.task_id_of(call.path_params["id"]))
        return _READERS[route.name](call)

    def render(self, outcome: Outcome, call: Call) -> Reply:
        """Write what came of it."""
        if isinstance(outcome, TaskOutcome):
            return _task_reply(outcome, call)
        return answers.reply(200, _plain_answer(outcome, call), request_id=call.fresh_uuid)

    def render_refusal(self, refusal: CallRefused, call: Call) -> Reply:
        """Write why nothing came of it, with the id of the request it is about if there is one."""
        request_id = answers.shown_request_id(call)
        if isinstance(refusal, NotFound) and call.route == "cancel":
            return answers.reply(404, {"status": "NOT_FOUND"}, request_id=request_id)
        if isinstance(refusal, NotFound) and call.route in _ABOUT_ONE_REQUEST:
            refusal = NotFound("Request not found")
        failed = failed_call(refusal, call.base_url)
        headers = {**failed.headers, **retry_after(refusal.retry_after_s)}
        return answers.reply(failed.status, failed.body, request_id=request_id, headers=headers)

    def stream_headers(self, outcome: TaskOutcome, call: Call) -> Mapping[str, str]:  # noqa: ARG002 -- the protocol's
        """Return the id of the request that is followed."""
        return {"x-fal-request-id": answers.request_id_of(outcome.task.id)}

    def render_progress(self, outcome: TaskOutcome, call: Call) -> str:
        """Write the state of a request as one event."""
        return f"data: {json.dumps(answers.status_body(outcome, call))}\n\n"

    def write_event(self, event: Event) -> bytes:
        """Write the body of a webhook."""
        return answers.event_body(event)

    def sign(self, letter: Letter, signer: WebhookSigner) -> Mapping[str, str]:
        """Return the headers of a webhook; its four lines are signed with the service's Ed25519 key.

        Source: fal's page on webhooks, "Webhook verification", seen 2026-11.
        """
        message = answers.signed_lines(letter, hashlib.sha256(letter.body).hexdigest())
        return {
            "X-Fal-Webhook-Request-Id": answers.request_id_of(letter.task_id),
            "X-Fal-Webhook-User-Id": letter.tenant_id,
            "X-Fal-Webhook-Timestamp": str(letter.sent_at_s),
            "X-Fal-Webhook-Signature": signer.ed25519(message),
        }


def _read_part(_call: Call) -> Operation:
    raise BodyTooLarge("Pictures of more than 20 MiB are not used here, so uploads in parts are not taken")


_READERS: Mapping[str, Callable[[Call], Operation]] = MappingProxyType(
    {
        "run": wishes.read_run,
        "submit": wishes.read_submit,
        "announce": wishes.read_announcement,
        "upload": wishes.read_upload,
        "upload_in_parts": _read_part,
        "upload_token": lambda _call: IssueUploadToken(),
        "webhook_keys": lambda _call: ReadWebhookKeys(),
    }
)


def _about_request(route: str, task_id: str) -> Operation:
    match route:
        case "status":
            return Read(task_id=task_id, with_place=True, with_pictures=False)
        case "stream":
            return Watch(task_id=task_id)
        case "cancel":
            return Cancel(task_id=task_id)
    return Read(task_id=task_id)


def _task_reply(outcome: TaskOutcome, call: Call) -> Reply:
    match call.route:
        case "submit":
            return answers.accepted(outcome, call)
        case "status" | "stream":
            return answers.status(outcome, call)
        case "cancel":
            return answers.cancelled(outcome)
    return answers.result(outcome, call)


def _plain_answer(outcome: Outcome, call: Call) -> Mapping[str, Any]:
    match outcome:
        case Kept(url=url):
            return {"access_url": url}
        case Granted(put_url=put_url, url=url):
            return {"upload_url": put_url, "file_url": url}
        case UploadToken(token=token, expires_at=expires_at):
            # Written with an offset: the package compares it with the time of now, and cannot read a Z everywhere.
            until = expires_at.astimezone(UTC).isoformat()
            return {"token": token, "token_type": "Bearer", "base_url": f"{call.base_url}{CDN}", "expires_at": until}
        case WebhookKeys(keys=keys):
            return {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": name, "x": x} for name, x in keys.items()]}
    raise TypeError(f"fal has no words for {outcome!r}")
