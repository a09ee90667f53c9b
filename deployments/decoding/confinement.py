"""Takes from a process what it does not need: networks, files, processes of its own, memory and time without end.

Imports the standard library alone. What a system does not have is left out; only Linux has all of it.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
import time

#: Most address space of a process, in bytes; resident memory is less.
MEMORY_BYTES = 512 * 1024**2
#: Most processor time that one picture gets, in seconds.
CPU_S = 5

# Source: the kernel's headers, linux/sched.h and linux/prctl.h.
_NEW_USER, _NEW_NETWORK = 0x1000_0000, 0x4000_0000
_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38


def confine() -> bool:
    """Confine this process for good; call it when everything is imported, for no file can be opened after it.

    Returns:
        Whether it is cut off from every network; some containers do not allow that.
    """
    is_cut_off = _cut_off() if sys.platform == "linux" else False
    _bound(resource.RLIMIT_AS, MEMORY_BYTES)
    _bound(resource.RLIMIT_NOFILE, 3)  # what is open stays open
    for nothing in (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_CORE):
        _bound(nothing, 0)
    return is_cut_off


def grant_cpu(seconds: int = CPU_S) -> None:
    """Let this process use the processor for one more picture; beyond that the kernel ends it."""
    spent_s = int(time.process_time())  # rounded down, so that a picture never gets more than it should
    resource.setrlimit(resource.RLIMIT_CPU, (spent_s + seconds, resource.RLIM_INFINITY))


def _cut_off() -> bool:
    system = ctypes.CDLL(None, use_errno=True)
    is_cut_off: bool = system.unshare(_NEW_USER | _NEW_NETWORK) == 0
    # After the namespace, which forgets it. The end of standard input says the same, but only to who reads it.
    system.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    system.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return is_cut_off


def _bound(limit: int, value: int) -> None:
    _, most = resource.getrlimit(limit)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    try:
        resource.setrlimit(limit, (value, value))
    except (ValueError, OSError):  # macOS knows no bound on address space
        return
