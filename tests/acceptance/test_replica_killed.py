"""A replica dies in the middle of a task: the task does not."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from running_service import Service

#: Long enough to be caught in the middle, on any machine.
WISH: dict[str, Any] = {
    "prompt": "a cup",
    "seed": 3,
    "num_images": 4,
    "num_inference_steps": 50,
    "output_format": "png",
}
#: A lease, a restart that loads torch, and the work itself.
PATIENCE_S = 200


def pictures_of(client: httpx.Client, task: dict[str, Any]) -> list[bytes]:
    """Wait for a task's end and fetch its pictures."""
    deadline = time.monotonic() + PATIENCE_S
    while task["status"] in {"created", "processing"}:
        assert time.monotonic() < deadline, "the task never ended"
        time.sleep(0.1)
        task = client.get(task["urls"]["get"]).json()["data"]
    assert task["status"] == "completed", task["error"]
    return [client.get(url).raise_for_status().content for url in task["outputs"]]


@pytest.mark.timeout(3 * PATIENCE_S)
def test_a_task_survives_sigkill_of_its_replica(service: Service, references: list[str]) -> None:
    """Ray restarts the replica, the task ends completed on its second attempt, with the pictures it would have had."""
    with service.client() as client:
        wish = WISH | {"images": references[:1]}
        undisturbed = pictures_of(client, client.post("/api/v3/wavespeed-ai/uno", json=wish).json()["data"])
        task = client.post("/api/v3/wavespeed-ai/uno", json=wish).json()["data"]
        wait_until_stepping(service, task["id"])
        killed = service.replica("uno")
        killed.kill()

        pictures = pictures_of(client, task)

    assert pictures == undisturbed
    assert service.row(task["id"])["attempt"] == 2
    assert service.replica("uno").pid != killed.pid


def wait_until_stepping(service: Service, task_id: str) -> None:
    """Return once a task's steps have begun and are not over."""
    deadline = time.monotonic() + PATIENCE_S
    while service.row(task_id)["steps_done"] == 0:
        assert time.monotonic() < deadline, "the task never started"
        time.sleep(0.05)
    assert service.row(task_id)["state"] == "running"
