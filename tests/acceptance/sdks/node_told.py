"""Plays the user of a Node package, and tells what came of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
from acceptance.sdks.script import Given
from acceptance.sdks.told import PATIENCE_S, REQUIRE_SERVICES, Told

SCRIPTS = Path(__file__).with_name("node")
HOW_TO_GET = "Node or its packages are not installed as they are pinned; `.ci/node` does that"


def play_node(name: str, given: Given, **more: str) -> Told:
    """Run a package's script in a process of its own, with what is given and more."""
    ended = subprocess.run(
        [installed_node(), f"{name}.mjs", json.dumps(asdict(given) | more, default=str)],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    print(ended.stderr)  # noqa: T201 -- how long each case took, for whoever runs pytest with -s
    return Told(json.loads(ended.stdout.splitlines()[-1]), given.folder)


def installed_node() -> str:
    """Return Node's program; without it and its packages, skip or, where every service must be there, fail."""
    node, installed = shutil.which("node"), SCRIPTS / "node_modules" / ".installed-lock.json"
    pinned = SCRIPTS / "package-lock.json"
    if node and installed.is_file() and installed.read_bytes() == pinned.read_bytes():
        return node
    if os.environ.get(REQUIRE_SERVICES) == "1":  # noqa: TID251 -- it is the test run's setting, not the service's
        pytest.fail(HOW_TO_GET)
    pytest.skip(HOW_TO_GET)
