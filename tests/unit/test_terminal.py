"""Ctrl-C for the right process, once, and news on a terminal and off it."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest
from rich.console import Console

from deployments.terminal import foreground, interruptible, progress

#: Plays make: it owns the terminal, starts a command, and says how that ended, if it lives to see it.
MAKE = """
import fcntl, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
command = subprocess.run([sys.executable, "-c", sys.argv[1]])
print(f"make saw {command.returncode}", flush=True)
"""
#: Plays ``uxo run``: it says whether it holds the terminal, then waits for Ctrl-C.
COMMAND = """
import os, signal
from deployments.terminal import foreground, interruptible
def holds():
    return os.tcgetpgrp(0) == os.getpgrp() == os.getpid()
before = os.getpgrp()
try:
    with foreground(), interruptible():
        print("holds it" if holds() else "does not hold it", flush=True)
        signal.pause()
except KeyboardInterrupt:
    print("interrupted", flush=True)
print("gave it back" if os.tcgetpgrp(0) == os.getpgrp() == before else "kept it", flush=True)
"""
#: Plays ``uxo run`` in a shell of its own, where it leads its group already.
LEADER = """
import fcntl, os, termios
from deployments.terminal import foreground
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
with foreground():
    print("leads" if os.tcgetpgrp(0) == os.getpgrp() == os.getpid() else "lost it", flush=True)
print("leads" if os.tcgetpgrp(0) == os.getpgrp() == os.getpid() else "lost it", flush=True)
"""


@pytest.fixture
def terminal() -> Iterator[tuple[IO[bytes], int]]:
    """Return the two ends of a terminal: the keyboard's, and the one that programs read from."""
    keyboard, inner = pty.openpty()
    with os.fdopen(keyboard, "wb", buffering=0) as keys:
        yield keys, inner
        os.close(inner)


def start(*words: str, terminal: int) -> subprocess.Popen[str]:
    """Start a Python program in a session of its own, with the terminal as its standard input."""
    return subprocess.Popen(
        [sys.executable, "-c", *words], stdin=terminal, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_ctrl_c_reaches_the_command_and_not_the_make_above_it(terminal: tuple[IO[bytes], int]) -> None:
    """Ctrl-C on the keyboard stops the command alone; make goes on, and has its terminal back."""
    keys, inner = terminal
    make = start(MAKE, COMMAND, terminal=inner)
    assert make.stdout is not None
    first = make.stdout.readline()

    keys.write(b"\x03")
    rest, _ = make.communicate(timeout=60)

    assert first == "holds it\n"
    assert rest.splitlines() == ["interrupted", "gave it back", "make saw 0"]


def test_a_leader_keeps_its_terminal(terminal: tuple[IO[bytes], int]) -> None:
    """A command that leads the foreground already stays as it is."""
    _, inner = terminal

    said, _ = start(LEADER, terminal=inner).communicate(timeout=60)

    assert said.splitlines() == ["leads", "leads"]


def test_without_a_terminal_nothing_changes() -> None:
    """A command whose input is no terminal stays in its group."""
    group = os.getpgrp()

    with foreground():
        inside = os.getpgrp()

    assert (inside, os.getpgrp()) == (group, group)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_interrupts(number: signal.Signals) -> None:
    """SIGINT and SIGTERM both end what is going on as Ctrl-C does."""
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)


def test_the_second_signal_does_not_cut_the_stopping_short() -> None:
    """While the first signal is being obeyed, further ones of both kinds are ignored."""
    stopped = []

    with interruptible():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            stopped.append("cleanly")

    assert stopped == ["cleanly"]


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_signals_mean_afterwards_what_they_meant_before(is_interrupted: bool) -> None:  # noqa: FBT001 -- a case
    """What was to happen at a signal is put back, however the block ended."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]

    try:
        with interruptible():
            if is_interrupted:
                signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        pass

    assert [signal.getsignal(number) for number in numbers] == before


def test_off_a_terminal_news_is_a_line_and_told_once() -> None:
    """In a log every piece of news is a line of its own; the same again is no news, an older one is."""
    file = io.StringIO()

    with progress(Console(file=file)) as report:
        for news in ("starting", "waiting", "waiting", "starting"):
            report(news)

    assert file.getvalue() == "  starting\n  waiting\n  starting\n"


def test_on_a_terminal_news_takes_the_place_of_older_news() -> None:
    """On a terminal there is one line that changes, and it is gone when all is said."""
    file = io.StringIO()

    with progress(Console(file=file, force_terminal=True, width=80)) as report:
        report("waiting for uno")

    assert "waiting for uno" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K")
