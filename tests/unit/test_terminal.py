"""Ctrl-C for the right process, once, and news on a terminal and off it."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from deployments.terminal import STOPPING, foreground, interruptible, progress

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
#: Plays ``uxo run`` in a terminal that is closed: it stops slowly, and says so to the dead.
ABANDONED = """
import fcntl, os, signal, sys, termios
from deployments.terminal import foreground, interruptible
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
with foreground(), interruptible():
    try:
        print("waiting", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print("stopping", flush=True)
        os.write(int(sys.argv[1]), b"stopped")
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


def test_a_closed_terminal_does_not_break_the_stop(tmp_path: Path) -> None:
    """When the terminal is closed the command is interrupted, and what it still says is no error."""
    keyboard, inner = pty.openpty()
    with (tmp_path / "log").open("w+b") as log:
        command = subprocess.Popen(
            [sys.executable, "-c", ABANDONED, str(log.fileno())],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            pass_fds=[log.fileno()],
            start_new_session=True,
        )
        os.close(inner)
        os.read(keyboard, 100)  # it waits

        os.close(keyboard)
        code = command.wait(timeout=60)

        assert code == 0
        log.seek(0)
        assert log.read() == b"stopped"


def test_nohup_is_obeyed() -> None:
    """A SIGHUP that whoever started us has set to be ignored stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            meaning = signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert meaning is signal.SIG_IGN


def test_without_a_terminal_nothing_changes() -> None:
    """A command whose input is no terminal stays in its group."""
    group = os.getpgrp()

    with foreground():
        inside = os.getpgrp()

    assert (inside, os.getpgrp()) == (group, group)


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_signal_interrupts(number: signal.Signals) -> None:
    """Each signal that asks to stop ends what is going on as Ctrl-C does."""
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)


def test_what_a_library_makes_of_an_interruption_is_one_all_the_same() -> None:
    """Ray, interrupted while it starts, says that it could not start; nobody asked for that."""

    def start() -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
        except KeyboardInterrupt as error:
            raise RuntimeError("could not start") from error

    with pytest.raises(KeyboardInterrupt), interruptible():
        start()


def test_an_error_without_a_signal_stays_one() -> None:
    """What goes wrong by itself is told as what it is."""
    with pytest.raises(RuntimeError, match="went wrong"), interruptible():
        raise RuntimeError("went wrong")


def test_the_second_signal_does_not_cut_the_stopping_short() -> None:
    """While the first signal is being obeyed, further ones of every kind are ignored."""
    stopped = []

    with interruptible():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            for number in STOPPING:
                signal.raise_signal(number)
            stopped.append("cleanly")

    assert stopped == ["cleanly"]


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_signals_mean_afterwards_what_they_meant_before(is_interrupted: bool) -> None:  # noqa: FBT001 -- a case
    """What was to happen at a signal is put back, however the block ended."""
    before = [signal.getsignal(number) for number in STOPPING]

    try:
        with interruptible():
            if is_interrupted:
                signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        pass

    assert [signal.getsignal(number) for number in STOPPING] == before


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
