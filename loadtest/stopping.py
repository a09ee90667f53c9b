"""Ends a process that this one has started, and every process that it has started in turn."""

from __future__ import annotations

import subprocess
from contextlib import suppress

import psutil

#: Seconds in which what a process leaves behind may end by itself.
LEFT_S = 2.0


def stop(process: subprocess.Popen[bytes], *, patience_s: float) -> None:
    """End the standard input of a process, which asks ours to end, and then whatever is left of it.

    Args:
        process: with its standard input as a pipe.
        patience_s: seconds in which it may end by itself.
    """
    tree = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    try:
        process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in psutil.wait_procs(tree, timeout=LEFT_S)[1]:
        with suppress(psutil.NoSuchProcess):
            left.kill()
