"""Runware's task arrays over REST from the caller's side.

Source: the provider's pages and Python package 0.5, seen 2026-11; its package reads once a second.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from loadtest.openloop.motif import pictures_of, prompt_of
from loadtest.openloop.order import Order, bounded
from loadtest.openloop.speech import Ask, Seen, State, links, mapping, sample, wire
from models.catalog import CATALOG, MAX_IMAGES

_MODELS = {"uno": "bytedance:uno@1", "uso": "bytedance:uso@1"}
_STATES = {"processing": State.WORKING, "success": State.SUCCEEDED, "error": State.FAILED}


class Runware:
    """Runware's words for a load. It has none for taking a task back."""

    scheme = "Bearer"
    poll_s = 1.0

    def askable(self, order: Order) -> Order:
        """Ask for whatever the engine takes, up to as many references as the model has."""
        most = sum(CATALOG[order.model].max_references.values())
        return bounded(order, images=MAX_IMAGES, references=(0, most))

    def submission(self, order: Order, *, webhook: str) -> Ask:
        """Ask for an order under a UUID of its own; what is bad has an empty prompt."""
        task = {
            "taskType": "imageInference",
            "taskUUID": str(uuid.uuid4()),
            "model": _MODELS[order.model],
            "positivePrompt": "" if order.is_bad else prompt_of(order.motif),
            "inputs": {"referenceImages": pictures_of(order.motif, order.references)} if order.references else {},
            "width": order.width,
            "height": order.height,
            "steps": order.steps,
            "numberResults": order.images,
            "seed": order.seed,
            "deliveryMethod": "async",
        }
        return Ask(method="POST", path="/v1", body=wire([task | ({"webhookURL": webhook} if webhook else {})]))

    def accepted(self, body: Mapping[str, Any]) -> str | None:
        """Find the UUID in the acknowledgement."""
        found = _first(body, "data").get("taskUUID")
        return found if isinstance(found, str) else None

    def reading(self, task_id: str) -> Ask:
        """Ask for the results so far."""
        return Ask(method="POST", path="/v1", body=wire([{"taskType": "getResponse", "taskUUID": task_id}]))

    def seen(self, status: int, body: Mapping[str, Any]) -> Seen | None:
        """Read the first item's state; its items turn together. An error of a server under load says nothing."""
        error = _first(body, "errors")
        if error.get("code") == "taskFailedOrNotFound" and status == 404:
            return Seen(state=State.GONE)
        # A failed task is told with 500, which is also what a server in trouble says; its code tells them apart.
        if error.get("code") == "inferenceError" or (error and status < 500 and status != 429):
            return _failed(error)
        match _STATES.get(str(_first(body, "data").get("status"))):
            case State.SUCCEEDED:
                return Seen(state=State.SUCCEEDED, pictures=self.shown(body))
            case State.FAILED:
                return Seen(state=State.FAILED, error="failed")
            case State() as state:
                return Seen(state=state)
        return None

    def showing(self, _task_id: str) -> None:
        """Say nothing: what was read shows the pictures. A webhook tells of one each, so it is no answer to this."""

    def shown(self, body: Mapping[str, Any]) -> int:
        """Count the links of all items."""
        found = body.get("data")
        return links([mapping(each).get("imageURL") for each in found] if isinstance(found, list) else None)

    def cancelling(self, _task_id: str) -> None:
        """Say nothing, for there are no words for it."""

    def told(self, body: Mapping[str, Any]) -> tuple[str, Seen] | None:
        """Read a webhook: a result, or an error."""
        found, error = _first(body, "data"), _first(body, "errors")
        task_id = (found or error).get("taskUUID")
        if not isinstance(task_id, str):
            return None
        return task_id, Seen(state=State.SUCCEEDED) if found else _failed(error)


def _failed(error: Mapping[str, Any]) -> Seen:
    words = f"failed with {error.get('code')}"
    return Seen(state=State.FAILED, error=words, message=sample(error.get("message")))


def _first(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    return mapping(found[0]) if isinstance(found, list) and found else {}
