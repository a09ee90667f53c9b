"""An environment of its own for each server of another project, from pins; one whose pins have not changed is kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: Where the files of pins are.
REQUIREMENTS = Path(__file__).with_name("requirements")
#: Seconds in which one environment is made.
INSTALL_S = 300.0


class CannotInstall(Exception):
    """A server of another project cannot be installed; the message says why in one line."""


def environment_of(pins: str, folder: Path) -> Path:
    """Make the environment of a file of pins below ``folder``, or find it there, and return where it is.

    Raises:
        CannotInstall: when it cannot be made, or not in time.
    """
    wanted, environment = REQUIREMENTS / f"{pins}.txt", folder / pins
    made_from = environment / "pins.txt"
    if made_from.exists() and made_from.read_bytes() == wanted.read_bytes():
        return environment
    shutil.rmtree(environment, ignore_errors=True)
    until_s = time.monotonic() + INSTALL_S
    _run(["-m", "venv", "--without-pip", str(environment)], until_s=until_s)
    # The pins name everything, so there is nothing to resolve.
    pip = ["-m", "pip", "--python", str(environment / "bin" / "python"), "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", "-r", str(wanted)], until_s=until_s)
    # Last, so that an installation which did not end is made again.
    shutil.copy(wanted, made_from)
    return environment


def pinned(pins: str, package: str) -> str:
    """Return the version of a package that a file of pins names."""
    lines = (REQUIREMENTS / f"{pins}.txt").read_text(encoding="utf-8").splitlines()
    [version] = [line.partition("==")[2] for line in lines if line.partition("==")[0] == package]
    return version


def _run(arguments: Sequence[str], *, until_s: float) -> None:
    command, left_s = [sys.executable, *arguments], max(until_s - time.monotonic(), 1.0)
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=left_s, check=False)  # noqa: S603 -- this interpreter
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"not installed within {INSTALL_S:g} s") from error
    if ended.returncode:
        raise CannotInstall(last_line(ended.stderr) or f"pip ended with {ended.returncode}")


def last_line(text: str) -> str:
    """Return the last line that says something, shortened to what fits a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
