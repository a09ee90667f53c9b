"""What several commands of the load test take alike: keys of tenants, numbers, and how a command is written down."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

#: An option of tenants' keys. The environment keeps them out of the list of processes, which all of a machine may read.
Keys = Annotated[
    str,
    typer.Option(
        "--key",
        "--tenants",
        envvar="WAVESPEED_API_KEY",
        help="Keys of tenants, with commas between; dealt in turn.",
    ),
]


def keys_of(text: str) -> Sequence[str]:
    """Take keys apart that are written with commas or white space between them; none has any inside."""
    return [key for key in re.split(r"[,\s]+", text) if key] or [""]


def command_of(command: str, subject: str, *, keys: Sequence[str], options: Mapping[str, Any]) -> str:
    """Write the command that does the same once more, without a secret: every key of a tenant is ``KEY``.

    Args:
        command: its name, such as ``run``.
        subject: what it is about, a profile or a trace.
        keys: those of tenants.
        options: by name; None is an option that was not given.
    """
    asked = {"key": ",".join("KEY" for _ in keys), **options}
    words = [word for name, value in asked.items() if value is not None for word in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "loadtest", command, subject, *words])


def finite(value: float) -> float:
    """Return a number that may be reckoned with; infinity is within every bound that has no end, and NaN within all.

    Raises:
        typer.BadParameter: for a number that is none of these.
    """
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number of anything")
    return value
