"""Which addresses are public is the same under every Python that is found here; the interpreters' own flags differ."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.outbound import addresses
from loadtest.ssrf.targets import NOT_PUBLIC, PUBLIC

#: Versions that the table is tried under, where they are installed.
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
ASK = """
import json, runpy, sys
judge = runpy.run_path(sys.argv[1])["is_public"]
print(json.dumps([judge(each) for each in sys.argv[2:]]))
"""


def interpreter(version: str) -> str | None:
    """Find a Python of a version: on the path, or among those of pyenv."""
    found = [shutil.which(f"python{version}"), *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))]
    for each in filter(None, [*found, sys.executable]):
        shown = subprocess.run([each, "--version"], check=False, capture_output=True, text=True)
        if shown.stdout.startswith(f"Python {version}."):
            return each
    return None


@pytest.mark.parametrize("version", VERSIONS)
def test_the_verdict_does_not_depend_on_the_interpreter(version: str) -> None:
    """Sixty addresses, from every special range and in every hiding place, are judged right."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")

    answer = subprocess.run(
        [python, "-c", ASK, addresses.__file__, *PUBLIC, *NOT_PUBLIC], check=True, capture_output=True
    )

    assert json.loads(answer.stdout) == [True] * len(PUBLIC) + [False] * len(NOT_PUBLIC)
    assert len(PUBLIC) + len(NOT_PUBLIC) >= 60
