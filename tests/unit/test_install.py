"""The one line that an installation shows: what pip is at, in whole words."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

INSTALL = Path(__file__).parents[2] / ".ci" / "install.py"
#: Some lines of an installation.
SAID = """\
Looking in indexes: https://pypi.org/simple
Collecting torch>=2.9 (from uxo-serve==0.1.0)
  Downloading torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl (190.1 MB)
Collecting ray[serve]<3,>=2.60 (from uxo-serve==0.1.0)
"""


@pytest.fixture(scope="module")
def install() -> ModuleType:
    """Return the script as a module; it belongs to no package."""
    spec = spec_from_file_location("install", INSTALL)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "news"),
    [
        ("Collecting torch>=2.9 (from uxo-serve==0.1.0)", "Collecting torch…"),
        ("Collecting ray[serve]<3,>=2.60 (from uxo-serve==0.1.0)", "Collecting ray…"),
        ("Collecting markdown-it-py", "Collecting markdown-it-py…"),
        ("  Downloading pydantic_settings-2.16.3-py3-none-any.whl (82 kB)", "Downloading pydantic_settings-2.16.3…"),
        (
            "  Downloading https://download.pytorch.org/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl (9 MB)",
            "Downloading torch-2.13.0+cpu…",
        ),
        (
            "  Downloading ray-2.60.0-cp311-cp311-manylinux2014_x86_64.whl.metadata (22 kB)",
            "Downloading ray-2.60.0…",
        ),
        ("  Building editable for uxo-serve (pyproject.toml): started", "Building editable for uxo-serve…"),
        ("  Installing build dependencies: finished with status 'done'", "Installing build dependencies…"),
        ("Installing collected packages: sortedcontainers, py-spy, mpmath", "Installing collected packages…"),
    ],
)
def test_a_line_of_pip_becomes_what_it_does_and_to_what(install: ModuleType, line: str, news: str) -> None:
    """Versions asked for, tags, sizes and lists are left out; the word and the package stay whole."""
    assert install.news_of(line + "\n") == news


def test_a_long_line_ends_with_a_whole_word(install: ModuleType) -> None:
    """What does not fit is left out word by word."""
    news = install.news_of("Building wheel for " + "very " * 20 + "long names")

    assert news == "Building wheel for very very very very very very…"
    assert len(news) <= install.NEWS_WIDTH


def test_progress_is_one_line_and_all_is_kept(install: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The first step is shown within the line's width, and everything pip said is there when it fails."""
    with subprocess.Popen([sys.executable, "-c", f"print({SAID!r}, end='')"], stdout=subprocess.PIPE, text=True) as pip:
        said = install.follow(pip)

    lines = capsys.readouterr().out.splitlines()
    assert [len(line) for line in lines] == [install.WIDTH] * 2
    assert lines[0].split(maxsplit=4)[4].rstrip() == "Collecting torch…"
    assert lines[1].split(maxsplit=4)[0] == "2"
    assert "".join(said) == SAID
