"""Starts the processes under test by forking one that has imported everything: 20 ms instead of a second of CPU each.

Reads orders from standard input, one line each, and writes what happens to standard output:

    {"started": pid, "name": "replica-2"}        {"ended": pid, "by": 9}

Its processes die with it, and it ends when its standard input does. Run as ``python -m acceptance.chaos.nursery LOGS``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any, NoReturn

from acceptance.chaos.orders import Orders
from acceptance.chaos.roles import run

#: Tells the kernel which signal a process gets when its parent dies. Source: Linux, prctl(2).
PR_SET_PDEATHSIG = 1


def serve(logs: Path) -> None:
    """Start what is asked for and tell what ended, until there is nobody to ask."""
    logs.mkdir(parents=True, exist_ok=True)
    waking, woken = socket.socketpair()
    for each in (waking, woken):
        each.settimeout(0)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking.fileno())
    selector = DefaultSelector()
    selector.register(sys.stdin.fileno(), EVENT_READ)
    selector.register(woken.fileno(), EVENT_READ)
    waiting = b""
    while True:
        ready = {key.fd for key, _ in selector.select()}
        if woken.fileno() in ready:
            woken.recv(4096)
            _tell_of_the_dead()
        if sys.stdin.fileno() in ready:
            got = os.read(sys.stdin.fileno(), 65536)
            if not got:
                return
            *lines, waiting = (waiting + got).split(b"\n")
            _start_all(lines, logs)


def _start_all(lines: list[bytes], logs: Path) -> None:
    for line in lines:
        orders = Orders.from_line(line.decode())
        pid = os.fork()
        if pid == 0:
            _become(orders, logs)
        _tell(started=pid, name=orders.name)


def _become(orders: Orders, logs: Path) -> NoReturn:
    """Be the process that was ordered, in a child of the nursery."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(logs / f"{orders.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 64)
    try:
        run(orders)
    except BaseException:  # noqa: BLE001 -- whatever it is, it must not come out into the nursery's own loop
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def _tell_of_the_dead() -> None:
    for pid, status in _ended():
        _tell(ended=pid, by=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


def _ended() -> Iterator[tuple[int, int]]:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, status


def _tell(**fields: Any) -> None:
    os.write(sys.stdout.fileno(), f"{json.dumps(fields)}\n".encode())


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
