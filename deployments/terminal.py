"""What ``uxo run`` needs of the terminal: Ctrl-C for itself alone, once, and a line that says what is going on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from rich.console import Console

#: The file descriptor of standard input, which a shell connects to the terminal.
TERMINAL = 0
#: The file descriptors of standard output and standard error.
OUTPUTS = (1, 2)
#: What asks to stop: Ctrl-C, whoever runs services, and a terminal that is closed.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def foreground() -> Iterator[None]:
    """Become the terminal's foreground group, so that Ctrl-C reaches this process and not the ``make`` above it.

    make dies of Ctrl-C whatever its command makes of it; so it would report an error after a clean stop. Without a
    terminal, or as its leader already, this does nothing.
    """
    group = os.getpgrp()
    if not os.isatty(TERMINAL) or group == os.getpid() or os.tcgetpgrp(TERMINAL) != group:
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a background group that takes the terminal is stopped
    os.setpgid(0, 0)
    os.tcsetpgrp(TERMINAL, os.getpgrp())
    try:
        yield
    finally:
        with suppress(OSError):  # the terminal, or the group above, is gone
            os.tcsetpgrp(TERMINAL, group)
            os.setpgid(0, group)
        signal.signal(signal.SIGTTOU, before)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt for the first signal that asks to stop and ignore the rest: stopping is not cut short.

    A SIGHUP that is ignored already stays so, for that is what nohup asks for. Whatever a library that was interrupted
    makes of it, in the end it is a KeyboardInterrupt.
    """
    was_asked = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal was_asked
        was_asked = True
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        _leave_the_dead(terminals)
        raise KeyboardInterrupt

    terminals = [output for output in OUTPUTS if os.isatty(output)]
    before = {number: signal.getsignal(number) for number in STOPPING}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    except Exception:
        if was_asked:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, meaning in before.items():
            signal.signal(number, meaning)


def _leave_the_dead(terminals: Iterable[int]) -> None:
    """Have what is still said go nowhere instead of to a terminal that is closed, where it would be an error."""
    for output in terminals:
        if not os.isatty(output):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, output)
            os.close(nowhere)


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what is going on: a spinner on a terminal, one line per news elsewhere."""
    if console.is_terminal:
        with console.status("starting") as status:
            yield status.update
        return
    told: list[str] = []

    def tell(news: str) -> None:
        if news not in told[-1:]:
            told.append(news)
            console.print(f"  {news}")

    yield tell
