"""CPU time of a tree of processes that come and go."""

from __future__ import annotations

import os

import psutil

from loadtest.cpu import cpu_times, spent_s


def test_spent_counts_new_processes_whole_and_ended_ones_not() -> None:
    """A process that came in between has spent all its time there; one that ended must not be subtracted."""
    stays, ended, came = psutil.Process(), psutil.Process(1), psutil.Process(os.getppid())

    assert spent_s({stays: 2.0, ended: 9.0}, {stays: 2.5, came: 0.25}) == 0.75


def test_times_include_the_process_itself() -> None:
    """A server without children has CPU time too."""
    times = cpu_times(os.getpid())

    assert psutil.Process() in times
