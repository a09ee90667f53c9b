"""CPU time of a server: of its process and everything that descends from it. Knows no service."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

#: User and system seconds of each process; a number alone could be another process's by now.
CpuTimes = Mapping[psutil.Process, float]


def cpu_times(pid: int) -> CpuTimes:
    """Return what a process and its descendants have used so far; the kernel counts in steps of 10 ms."""
    root = psutil.Process(pid)
    times = {process: _seconds(process) for process in (root, *root.children(recursive=True))}
    return {process: seconds for process, seconds in times.items() if seconds is not None}


def spent_s(before: CpuTimes, after: CpuTimes) -> float:
    """Return the CPU seconds used between two readings, without those of processes that ended in between."""
    return sum(seconds - before.get(process, 0.0) for process, seconds in after.items())


def _seconds(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return None
    return float(times.user + times.system)
