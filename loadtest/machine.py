"""What a figure was measured on: the machine, the versions and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import psutil

#: Packages whose version moves the figures of the HTTP side.
HTTP_PACKAGES = ("ray", "fastapi", "uvicorn", "sqlalchemy", "asyncpg")
#: Packages whose version moves the figures of what computes pictures.
MODEL_PACKAGES = ("torch", "diffusers", "transformers", "peft")
#: How busy this machine was before a command made it so.
LOAD_AT_START = os.getloadavg()[0]
#: The commit where there is no git or no repository, as in an image.
UNKNOWN = "unknown"

_DESCRIBE = ("describe", "--always", "--dirty", "--abbrev=12")


def machine(packages: Iterable[str] = HTTP_PACKAGES) -> Mapping[str, str | int | float]:
    """Describe this machine and what runs on it.

    Args:
        packages: those whose version moves the figures.
    """
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average_at_start": round(LOAD_AT_START, 2),
        **{name: version(name) for name in packages},
    }


def cpu_model() -> str:
    """Return the processor's own name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def commit() -> str:
    """Return the commit of this source, marked when files differ from it; where nobody knows it, a plain word."""
    return commit_of(Path(__file__).parents[1])


def commit_of(root: Path, *, git: str = "git") -> str:
    """Return the commit of a source whose repository lies at its root; one further up is a stranger's."""
    try:
        found = subprocess.run(  # noqa: S603 -- git, with words of our own
            [git, f"--git-dir={root / '.git'}", f"--work-tree={root}", *_DESCRIBE],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return UNKNOWN
    return found.stdout.strip() or UNKNOWN
