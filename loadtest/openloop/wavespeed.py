"""WaveSpeed v3 from the caller's side.

Source: the provider's API pages and Python package 2.0.5, seen 2026-11.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from loadtest.openloop.motif import pictures_of, prompt_of
from loadtest.openloop.order import Order, bounded
from loadtest.openloop.speech import Ask, Seen, State, links, mapping, sample, wire
from models.catalog import SIZE_PRESETS, USO

_PATHS = {"uno": "/api/v3/wavespeed-ai/uno", "uso": "/api/v3/bytedance/uso"}
_STATES = {
    "created": State.WAITING,
    "processing": State.WORKING,
    "completed": State.SUCCEEDED,
    "failed": State.FAILED,
    "timeout": State.FAILED,
    "cancelled": State.CANCELLED,
    "deleted": State.CANCELLED,
}


class WaveSpeed:
    """WaveSpeed's words for a load."""

    scheme = "Bearer"
    poll_s = 1.0

    def askable(self, order: Order) -> Order:
        """Take UNO's nearest named size; of USO there are one size, one number of steps, and one picture."""
        near = bounded(order, images=4, references=(1, 4))
        if order.model == "uno":
            width, height = SIZE_PRESETS[nearest_preset(order.width, order.height)]
            return replace(near, width=width, height=height)
        width, height = SIZE_PRESETS["square_hd"]
        return replace(near, width=width, height=height, steps=USO.default_steps, images=1)

    def submission(self, order: Order, *, webhook: str) -> Ask:
        """Ask for an order; what is bad lacks its pictures."""
        query = f"?webhook={quote(webhook, safe='')}" if webhook else ""
        body = _uno(order) if order.model == "uno" else _uso(order)
        return Ask(method="POST", path=_PATHS[order.model] + query, body=wire(body))

    def accepted(self, body: Mapping[str, Any]) -> str | None:
        """Find the id below ``data``."""
        found = mapping(body.get("data")).get("id")
        return found if isinstance(found, str) else None

    def reading(self, task_id: str) -> Ask:
        """Ask for the result, which is the state until there is one."""
        return Ask(method="GET", path=f"/api/v3/predictions/{task_id}/result")

    def seen(self, status: int, body: Mapping[str, Any]) -> Seen | None:
        """Read ``data.status``; a 404 is a task that was deleted or never was."""
        if status == 404:
            return Seen(state=State.GONE)
        return _seen(mapping(body.get("data"))) if status == 200 else None

    def showing(self, _task_id: str) -> None:
        """Say nothing: what was read shows the pictures."""

    def shown(self, body: Mapping[str, Any]) -> int:
        """Count the links below ``data``."""
        return links(mapping(body.get("data")).get("outputs"))

    def cancelling(self, task_id: str) -> Ask:
        """Delete the task."""
        return Ask(method="DELETE", path=f"/api/v3/predictions/{task_id}")

    def told(self, body: Mapping[str, Any]) -> tuple[str, Seen] | None:
        """Read the flat task of a webhook."""
        seen = _seen(body)
        return (str(body.get("id")), seen) if seen else None


def _uno(order: Order) -> dict[str, Any]:
    return {
        "prompt": prompt_of(order.motif),
        "images": [] if order.is_bad else pictures_of(order.motif, order.references),
        "image_size": nearest_preset(order.width, order.height),
        "num_images": order.images,
        "num_inference_steps": order.steps,
        "seed": order.seed,
    }


def _uso(order: Order) -> dict[str, Any]:
    pictures = [] if order.is_bad else pictures_of(order.motif, order.references)
    return {"prompt": prompt_of(order.motif), "reference_images": pictures, "seed": order.seed}


def nearest_preset(width: int, height: int) -> str:
    """Return the named size whose sides are, as ratios, the nearest to these."""

    def distance(name: str) -> float:
        preset_width, preset_height = SIZE_PRESETS[name]
        return abs(math.log(width / preset_width)) + abs(math.log(height / preset_height))

    return min(SIZE_PRESETS, key=distance)


def _seen(task: Mapping[str, Any]) -> Seen | None:
    state = _STATES.get(str(task.get("status")))
    if state is None:
        return None
    if state is State.FAILED:
        return Seen(state=state, error=f"failed with code {task.get('code', 0)}", message=sample(task.get("error")))
    return Seen(state=state, pictures=links(task.get("outputs")) if state is State.SUCCEEDED else None)
