"""fal's queue from the caller's side.

Source: the provider's queue pages and Python package, seen 2026-11; its package asks for the state ten times a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from loadtest.openloop.motif import pictures_of, prompt_of
from loadtest.openloop.order import Order, bounded
from loadtest.openloop.speech import Ask, Seen, State, links, mapping, sample, wire

_QUEUE = "/fal/queue/fal-ai/uso"


class Fal:
    """fal's words for a load; USO alone."""

    scheme = "Key"
    poll_s = 0.1

    def askable(self, order: Order) -> Order:
        """Ask USO, whatever the model; a size may be any."""
        return replace(bounded(order, images=4, references=(1, 3)), model="uso")

    def submission(self, order: Order, *, webhook: str) -> Ask:
        """Queue an order; what is bad asks for more pictures than there can be."""
        query = f"?fal_webhook={quote(webhook, safe='')}" if webhook else ""
        body = {
            "prompt": prompt_of(order.motif),
            "input_image_urls": pictures_of(order.motif, order.references),
            "image_size": {"width": order.width, "height": order.height},
            "num_images": 99 if order.is_bad else order.images,
            "num_inference_steps": order.steps,
            "seed": order.seed,
        }
        return Ask(method="POST", path=_QUEUE + query, body=wire(body))

    def accepted(self, body: Mapping[str, Any]) -> str | None:
        """Find the request's id."""
        found = body.get("request_id")
        return found if isinstance(found, str) else None

    def reading(self, task_id: str) -> Ask:
        """Ask for the state."""
        return Ask(method="GET", path=f"{_QUEUE}/requests/{task_id}/status")

    def seen(self, status: int, body: Mapping[str, Any]) -> Seen | None:
        """Read the state; an end with an error is a failure, or was asked for."""
        if status == 404:
            return Seen(state=State.GONE)
        match body.get("status"):
            case "IN_QUEUE":
                return Seen(state=State.WAITING)
            case "IN_PROGRESS":
                return Seen(state=State.WORKING)
            case "COMPLETED":
                return _ended(body)
        return None

    def showing(self, task_id: str) -> Ask:
        """Ask for the result, as the provider's package does when the state says that there is one."""
        return Ask(method="GET", path=f"{_QUEUE}/requests/{task_id}")

    def shown(self, body: Mapping[str, Any]) -> int:
        """Count the links of the pictures."""
        return _pictures(body)

    def cancelling(self, task_id: str) -> Ask:
        """Ask for the end of a request."""
        return Ask(method="PUT", path=f"{_QUEUE}/requests/{task_id}/cancel")

    def told(self, body: Mapping[str, Any]) -> tuple[str, Seen] | None:
        """Read a webhook: OK with a payload, or ERROR."""
        task_id, state = (
            body.get("request_id"),
            {"OK": State.SUCCEEDED, "ERROR": State.FAILED}.get(str(body.get("status"))),
        )
        if state is None or not isinstance(task_id, str):
            return None
        if state is State.FAILED:
            return task_id, _failed(body)
        return task_id, Seen(state=state, pictures=_pictures(mapping(body.get("payload"))))


def _ended(body: Mapping[str, Any]) -> Seen:
    if not body.get("error"):
        return Seen(state=State.SUCCEEDED)
    if "cancel" in str(body.get("error_type", "")) or "cancel" in str(body["error"]):
        return Seen(state=State.CANCELLED)
    return _failed(body)


def _pictures(body: Mapping[str, Any]) -> int:
    images = body.get("images")
    return links([mapping(each).get("url") for each in images] if isinstance(images, list) else None)


def _failed(body: Mapping[str, Any]) -> Seen:
    error = f"failed with {body.get('error_type') or 'an error'}"
    return Seen(state=State.FAILED, error=error, message=sample(body.get("error")))
