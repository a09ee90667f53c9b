"""For those who prefer Locust: users who each submit a WaveSpeed task, read it until it ends, and submit the next.

    locust -f loadtest/locustfile.py --headless --users 5 --run-time 1m --host http://127.0.0.1:8000 --key KEY

A closed loop: users who wait send nothing, so a slow server is asked for less. ``python -m loadtest`` is an open one.
Locust loads this file in an environment of its own; so it knows Locust, and nothing of this project.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

import gevent
from locust import FastHttpUser, constant, events, task
from locust.argument_parser import LocustArgumentParser

#: States in which the provider's package goes on reading; every other one is an end.
OPEN_STATES = frozenset({"created", "processing"})
#: Answers to reads that say nothing of the task, no answer among them; the provider's package reads again after these.
PASSING = frozenset({0, 429, 500, 502, 503, 504})
#: How one task from submission to end is called in Locust's tables.
WHOLE = "TASK"
#: A grey picture of 64 by 64 pixels, inside the call, so that nothing has to be fetched.
REFERENCE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAATUlEQVR42u3PQQ0AAAgEIDX5RTeFDzdo"
    "QCepz6aeExAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQELi3oiwCAJt186UAAAAASUVORK5CYII="
)


#: Under which name each model takes its reference pictures; what other models need is for ``--fields`` to say.
REFERENCES: Mapping[str, Mapping[str, Any]] = {
    "wavespeed-ai/uno": {"images": [REFERENCE]},
    "bytedance/uso": {"reference_images": [REFERENCE]},
}


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]  # Locust is not installed beside this project
def add_options(parser: LocustArgumentParser) -> None:
    """Give Locust options of ours; each may stand in the environment, too."""
    parser.add_argument(
        "--key", env_var="WAVESPEED_API_KEY", is_secret=True, required=True, help="Keys, dealt to users in turn."
    )
    parser.add_argument("--model", env_var="LOCUST_MODEL", default="wavespeed-ai/uno", help="Path below /api/v3/.")
    parser.add_argument(
        "--fields", env_var="LOCUST_FIELDS", type=json.loads, default="{}", help="Fields of the body, as JSON."
    )
    parser.add_argument("--poll", env_var="LOCUST_POLL", type=float, default=1.0, help="Seconds between two reads.")
    parser.add_argument("--patience", env_var="LOCUST_PATIENCE", type=float, default=120.0, help="Seconds for a task.")


class TaskFailed(Exception):
    """A task did not become a picture; Locust counts what the message says."""


class Caller(FastHttpUser):  # type: ignore[misc]  # Locust is not installed beside this project
    """One user, who has one task at a time."""

    wait_time = constant(0)
    _numbers = itertools.count()

    def on_start(self) -> None:
        """Take the next key."""
        keys = [key.strip() for key in self._options.key.split(",")]
        self._headers = {"Authorization": f"Bearer {keys[next(self._numbers) % len(keys)]}"}

    @task  # type: ignore[untyped-decorator]  # Locust is not installed beside this project
    def order(self) -> None:
        """Ask for a picture, wait for its end, and note how long both took together."""
        started = time.monotonic()
        task_id = self._submitted()
        if task_id is None:
            gevent.sleep(self._options.poll)  # one who is refused at once must not ask again at once
            return
        error = self._read_to_its_end(task_id, until=started + self._options.patience)
        self.environment.events.request.fire(
            request_type=WHOLE,
            name=self._options.model,
            response_time=(time.monotonic() - started) * 1e3,
            response_length=0,
            exception=error,
            context={},
        )

    @property
    def _options(self) -> Any:
        return self.environment.parsed_options

    def _submitted(self) -> str | None:
        """Submit a task and return its id; None, and a failure in Locust's tables, where there is none."""
        references = REFERENCES.get(self._options.model, {})
        body = {"prompt": "two mugs on a table", **references, **self._options.fields}
        path = f"/api/v3/{self._options.model}"
        with self.client.post(path, json=body, headers=self._headers, name="submit", catch_response=True) as answer:
            task_id = _task_of(answer).get("id")
            if answer.status_code == 200 and not task_id:
                answer.failure("an answer without a task; is this WaveSpeed?")
        return task_id

    def _read_to_its_end(self, task_id: str, *, until: float) -> TaskFailed | None:
        """Read a task as often as the provider's package does, until it has ended; return what went wrong."""
        while time.monotonic() < until:
            status, task_now = self._read(task_id)
            if status not in {200, *PASSING}:
                return TaskFailed(f"HTTP {status} to a read")
            state = task_now.get("status", "processing")
            if state not in OPEN_STATES:
                return None if state == "completed" else TaskFailed(f"the task ended as {state}")
            gevent.sleep(self._options.poll)
        return TaskFailed(f"no end within {self._options.patience:g} s")

    def _read(self, task_id: str) -> tuple[int, dict[str, Any]]:
        path = f"/api/v3/predictions/{task_id}/result"
        with self.client.get(path, headers=self._headers, name="read", catch_response=True) as answer:
            return answer.status_code, _task_of(answer)


def _task_of(answer: Any) -> dict[str, Any]:
    """Return what an answer holds below ``data``; nothing where it is no such answer."""
    try:
        found = answer.json()["data"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
