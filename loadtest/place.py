"""Where a command is to write, looked at before it works for hours: who may not write there is told so at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path


class NoPlace(Exception):
    """Nothing can be written to a place; the message names it and says why, in one line."""


def place_of(subject: str, *, now: datetime) -> Path:
    """Return a folder for what comes of a profile or a trace at a moment; one run writes over no other's."""
    return Path("var/loadtest") / f"{Path(subject).stem}-{now:%Y%m%d-%H%M%S}"


def check_folder(folder: Path) -> None:
    """Make sure that files can be written into a folder, which need not be there; nothing is left behind.

    Raises:
        NoPlace: when they cannot.
    """
    try:
        # Whoever may write there may make the folders that are missing.
        nearest = next(each for each in (folder, *folder.parents) if each.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise NoPlace(f"{folder}: nothing can be written there ({error.strerror or error})") from error


def check_file(path: Path) -> None:
    """Make sure that a file can be written, or written anew.

    Raises:
        NoPlace: when it cannot.
    """
    check_folder(path.parent)
    if path.is_dir():
        raise NoPlace(f"{path}: that is a folder; name a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise NoPlace(f"{path}: nothing can be written there (it is not to be changed)")


def kept(folder: Path, write: Callable[[Path], None]) -> Path:
    """Have files written into a folder and return where they are.

    A folder that can be written to no more, after hours of work, loses nothing: then they go to a new one where the
    system keeps what is temporary.

    Args:
        folder: where they belong.
        write: writes them into the folder that it is given, which it makes.

    Raises:
        OSError: when there is no room there either.
    """
    try:
        write(folder)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="loadtest-"))
        write(folder)
    return folder
