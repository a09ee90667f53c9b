"""What to do about a call that failed: another try where memory was short, and no hold on what it had made."""

from __future__ import annotations

from collections.abc import Callable
from traceback import clear_frames
from typing import TypeVar

from models.pipeline import OutOfMemory

Result = TypeVar("Result")


def try_twice(call: Callable[[], Result]) -> Result:
    """Make a call that cannot be made smaller, and again when there was no memory for it.

    Raises:
        OutOfMemory: when there was none for the second try either.
    """
    try:
        return call()
    except OutOfMemory:
        pass  # left before the second try, since the error holds what the first had made
    return call()


def emptied(error: Exception) -> Exception:
    """Return an error that somebody keeps, without the tensors that lie in the frames that it came through."""
    cause: BaseException | None = error
    while cause is not None:
        clear_frames(cause.__traceback__)
        cause = cause.__cause__
    return error
