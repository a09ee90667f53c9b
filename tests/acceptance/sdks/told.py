"""Plays an SDK's user in the environment of that SDK, and tells what came of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from acceptance.sdks.script import Given
from PIL import Image
from running_service import ROOT, Served

SCRIPTS = Path(__file__).parent
ENVIRONMENTS = ROOT / "var" / "sdks"
HOW_TO_GET = "the SDK {name} is not installed as it is pinned; `.ci/sdks` does that"
#: The variable with which a test run says that every service must be there.
REQUIRE_SERVICES = "UXO_TEST_REQUIRE_SERVICES"
#: Seconds that one script may take on two cores that are shared with other work; alone it takes twenty.
PATIENCE_S = 240
#: Seconds within which work that nobody waits for has ended: a step, or the fetching of a reference.
CANCELLED_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """What an SDK raised."""

    #: The name of its class.
    name: str
    #: Its text.
    says: str
    #: Its plain attributes.
    has: Mapping[str, Any]


class Told:
    """What came of a script's cases.

    Args:
        cases: what the script wrote.
        folder: where it kept pictures.
    """

    def __init__(self, cases: Mapping[str, Any], folder: Path) -> None:
        self._cases = cases
        self._folder = folder

    def __repr__(self) -> str:
        """Name the cases that raised something."""
        raised = ", ".join(name for name, told in self._cases.items() if "error" in told)
        return f"<Told [{len(self._cases)} cases | raised: {raised}]>"

    def answer(self, case: str) -> Any:
        """Return what a case gave."""
        told = self._cases[case]
        assert "answer" in told, f"{told['error']}: {told['says']}"
        return told["answer"]

    def raised(self, case: str) -> Raised:
        """Return what a case raised."""
        told = self._cases[case]
        assert "error" in told, told["answer"]
        return Raised(name=told["error"], says=told["says"], has=told["has"])

    def pictures(self, case: str) -> list[bytes]:
        """Return the files of the pictures that a case was given."""
        return [(self._folder / name).read_bytes() for name in self.answer(case)["pictures"]]

    def seen(self, case: str) -> list[tuple[str, tuple[int, int]]]:
        """Decode the pictures that a case was given, and return the format and size of each."""
        return [seen(content) for content in self.pictures(case)]


#: Plays a user of an SDK with these variables in its environment; the fixture ``play_user``.
Play = Callable[[str, Mapping[str, str]], Told]


def seen(content: bytes) -> tuple[str, tuple[int, int]]:
    """Decode a picture, and return its format and size."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return str(image.format), image.size


def unsigned(link: str) -> str:
    """Return a link without its query: a bucket's are signed anew each time that somebody asks."""
    return link.partition("?")[0]


def wait_until_cancelled(service: Served, dialect: str, *, noted: str = "", task_id: str = "") -> None:
    """Return once a task of a dialect is cancelled, one in whose notes stands ``noted``, or the one of an id."""
    # By what stays: the request of a cancelled task is forgotten within seconds.
    deadline = time.monotonic() + CANCELLED_S
    while "cancelled" not in (states := service.states(dialect, noted=noted, task_id=task_id)):
        assert time.monotonic() < deadline, states
        time.sleep(0.05)


def play(name: str, given: Given, variables: Mapping[str, str], *, only: Sequence[str] = ()) -> Told:
    """Run an SDK's script in its environment, with these variables; all of its cases, or those that are named."""
    ended = subprocess.run(
        [interpreter(name), "-m", f"acceptance.sdks.{name}.calls", *only],
        cwd=ROOT / "tests",
        env={**os.environ, **variables},  # noqa: TID251 -- handed on, not read
        input=json.dumps(asdict(given), default=str),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    print(ended.stderr)  # noqa: T201 -- how long each case took, for whoever runs pytest with -s
    return Told(json.loads(ended.stdout), given.folder)


def interpreter(name: str) -> Path:
    """Return the Python that has an SDK; without one, skip or, where every service must be there, fail."""
    environment, pins = ENVIRONMENTS / name, SCRIPTS / f"requirements-{name}.txt"
    installed = environment / "pins.txt"
    if installed.is_file() and installed.read_bytes() == pins.read_bytes():
        return environment / "bin" / "python"
    if os.environ.get(REQUIRE_SERVICES) == "1":  # noqa: TID251 -- it is the test run's setting, not the service's
        pytest.fail(HOW_TO_GET.format(name=name))
    pytest.skip(HOW_TO_GET.format(name=name))
