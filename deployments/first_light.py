"""The first two pictures of a fresh start, asked for through the service's own HTTP API as any caller would.

And the command to paste that asks for one more.
"""

from __future__ import annotations

import base64
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deployments.errors import UxoError
from deployments.pictures import read_picture

#: Seconds between two looks at a task.
POLL_S = 0.2
#: Seconds after which a picture is given up.
PATIENCE_S = 120.0
#: Seconds that one call may take.
CALL_S = 30.0


class NoPicture(UxoError):
    """The service accepted a task and no picture came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One of the first pictures."""

    #: Path of the model in the WaveSpeed dialect.
    model: str
    #: Body of the call.
    body: Mapping[str, Any]


def first_wishes() -> list[Wish]:
    """Return one wish for each model, each with a bundled reference."""
    mug, waves = data_uri("mug"), data_uri("waves")
    return [
        Wish(
            model="wavespeed-ai/uno",
            body={"images": [mug], "prompt": "the red mug on a rock by the sea", "seed": 13},
        ),
        Wish(
            model="bytedance/uso",
            body={"reference_images": [waves], "prompt": "a lighthouse in the style of the waves", "seed": 7},
        ),
    ]


def data_uri(name: str) -> str:
    """Return a bundled picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(read_picture(name)).decode()


def take(wish: Wish, *, base_url: str, key: str, folder: Path, report: Callable[[str], None]) -> Path:
    """Ask for one picture, wait for it, and save it.

    Args:
        wish: what to ask for.
        base_url: address of the service.
        key: an API key.
        folder: where the picture goes, as ``uno.jpg`` or ``uso.jpg``.
        report: told in a few words what is going on.

    Raises:
        NoPicture: with the service's own words, or what kept it from being asked.
    """
    name = wish.model.rpartition("/")[2]
    headers = {"Authorization": f"Bearer {key}"}
    try:
        with httpx.Client(base_url=base_url, headers=headers, timeout=CALL_S, trust_env=False) as client:
            picture = _fetch(client, wish, report=lambda status: report(f"{name}: {status}"))
    except httpx.HTTPError as error:
        raise NoPicture(f"no picture of {name}: asking {base_url} failed ({error})") from error
    path = folder / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
    return path


def curl_command(*, base_url: str, key: str | None, picture: Path) -> str:
    """Return a command to paste that asks for one more picture and prints its address.

    Args:
        base_url: address of the service.
        key: an API key; without one, the command takes it from the shell's ``UXO_KEY``.
        picture: the reference.
    """
    authorization = shlex.quote(f"Authorization: Bearer {key}") if key else '"Authorization: Bearer $UXO_KEY"'
    lines = [
        f"curl -s {shlex.quote(f'{base_url}/api/v3/wavespeed-ai/uno')} \\",
        f"  -H {authorization} \\",
        "  -H 'Content-Type: application/json' \\",
        """  -d '{"prompt": "the red mug in the snow", "enable_sync_mode": true,""",
        """       "images": ["data:image/png;base64,'"$(""",
        f"           base64 < {shlex.quote(str(picture))} | tr -d '\\n'",
        """       )"'"]}'""",
    ]
    return "\n".join(lines)


def _fetch(client: httpx.Client, wish: Wish, *, report: Callable[[str], None]) -> bytes:
    task = _data_of(client.post(f"/api/v3/{wish.model}", json=wish.body))
    task = _wait(client, task, report=report)
    # Without the key: the picture may lie elsewhere, where nobody should see it, and its address is the permission.
    link = client.base_url.join(task["outputs"][0])
    return _accepted(httpx.get(link, timeout=CALL_S, trust_env=False)).content


def _wait(client: httpx.Client, task: dict[str, Any], *, report: Callable[[str], None]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while task["status"] in {"created", "processing"}:
        report(task["status"])
        if time.monotonic() > deadline:
            raise NoPicture(f"task {task['id']} is still {task['status']} after {PATIENCE_S:.0f} s")
        time.sleep(POLL_S)
        task = _data_of(client.get(task["urls"]["get"]))
    if task["status"] != "completed":
        raise NoPicture(f"task {task['id']} is {task['status']}: {task['error']}")
    return task


def _data_of(response: httpx.Response) -> dict[str, Any]:
    data: dict[str, Any] = _accepted(response).json()["data"]
    return data


def _accepted(response: httpx.Response) -> httpx.Response:
    if response.status_code != httpx.codes.OK:
        raise NoPicture(f"the service answered {response.status_code}: {response.text}")
    return response
