"""What ``uxo run`` needs of the terminal: Ctrl-C for itself alone, once, and a line that says what is going on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

#: The file descriptor of standard input, which a shell connects to the terminal.
TERMINAL = 0


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
        os.tcsetpgrp(TERMINAL, group)
        os.setpgid(0, group)
        signal.signal(signal.SIGTTOU, before)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt for the first SIGINT or SIGTERM and ignore the rest: stopping is not cut short."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
