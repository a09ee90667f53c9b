"""Locust, unmodified, loads our file and puts its closed loop on the running service."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from acceptance.sdks.told import PATIENCE_S, interpreter
from running_service import ALICE, BOB, ROOT, Service

FILE = ROOT / "loadtest" / "locustfile.py"
#: Two users for a second; the tasks that they have then are waited for.
WORDS = ["--headless", "--json", "--users=2", "--spawn-rate=2", "--run-time=1s", "--stop-timeout=120", "--poll=0.1"]

pytestmark = pytest.mark.timeout(600)


def locust(service: Service, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run Locust; return its exit code and its table by method."""
    ended = subprocess.run(
        [str(interpreter("locust")), "-m", "locust", "-f", str(FILE), *WORDS, "--host", service.base_url, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.stdout.startswith("["), ended.stderr
    return ended.returncode, {row["method"]: row for row in json.loads(ended.stdout)}


def test_whole_tasks_are_counted(service: Service) -> None:
    """Every task that ended is one entry of its own, which took longer than a submission, and nothing failed."""
    small = json.dumps({"num_inference_steps": 1, "image_size": "square"})

    code, rows = locust(service, "--key", f"{ALICE},{BOB}", "--fields", small)

    assert code == 0
    assert rows["TASK"]["num_requests"] == rows["POST"]["num_requests"] >= 2
    assert rows["GET"]["num_requests"] >= rows["TASK"]["num_requests"]
    assert rows["TASK"]["total_response_time"] > rows["POST"]["total_response_time"]
    assert [row["num_failures"] for row in rows.values()] == [0, 0, 0]


def test_a_failed_task_is_a_failure(service: Service) -> None:
    """Tasks that were accepted and then failed are failures of the whole task, and of no call."""
    unreachable = json.dumps({"reference_images": [f"{service.base_url}/nothing.png"]})

    code, rows = locust(service, "--key", ALICE, "--model", "bytedance/uso", "--fields", unreachable)

    assert code == 1
    assert rows["TASK"]["num_failures"] == rows["TASK"]["num_requests"] > 0
    assert (rows["POST"]["num_failures"], rows["GET"]["num_failures"]) == (0, 0)
