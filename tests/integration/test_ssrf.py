"""The whole guard in a small world of its own: no spelling, name, redirect or stall leads where it must not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: Seconds in which a busy machine gets through all scenes.
PATIENCE_S = 900
TOOLS = ("unshare", "ip", "mount")


def can_have_a_network() -> bool:
    """Whether this machine gives a process a network of its own."""
    if not all(map(shutil.which, TOOLS)):
        return False
    tried = ["unshare", "--map-root-user", "--net", "--mount", "ip", "link", "set", "lo", "up"]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of every scene."""
    if not can_have_a_network():
        pytest.skip(f"needs {', '.join(TOOLS)} and the right to make a network of one's own")
    output = tmp_path_factory.mktemp("ssrf") / "found.json"
    words = ["--tries", "1000", "--output", str(output)]
    done = subprocess.run([sys.executable, "-m", "loadtest.ssrf", *words], cwd=ROOT, check=False, timeout=PATIENCE_S)
    assert done.returncode in {0, 1}
    found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))["scenes"]
    return found


@pytest.mark.timeout(PATIENCE_S + 60)
@pytest.mark.parametrize(
    ("scene", "at_least"),
    [
        ("spellings", 3 * 3_800),
        ("addresses", 3 * 4 * 60),
        ("names that change", 3_000),
        ("redirects", 150),
        ("certificates", 15),
        ("stalls", 27),
    ],
)
def test_nobody_is_led_astray(scenes: dict[str, Any], scene: str, at_least: int) -> None:
    """Through no door does any of these calls reach a forbidden address, and each ends as it has to."""
    found = scenes[scene]

    assert found["calls"] >= at_least
    assert (found["forbidden"], found["wrong"]) == (0, [])


def test_the_listeners_would_see_it(scenes: dict[str, Any]) -> None:
    """Without the guard every call arrives, so that none arriving means something."""
    found = scenes["without the guard"]

    assert found["forbidden"] == found["calls"] > 0
