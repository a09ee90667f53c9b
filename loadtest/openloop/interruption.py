"""Ctrl-C, and what ends services, for as long as a load runs: kept until somebody looks, and never thrown at anybody.

Python throws ``KeyboardInterrupt`` at whatever is being done, and the HTTP client may swallow it or call it a broken
connection; asyncio's own handler hears of it only when its loop wakes up. A handler of the loop has neither fault.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

#: What interrupts a load.
SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds between two looks at what is being done.
LOOK_EVERY_S = 0.5


@contextmanager
def interruptions() -> Iterator[asyncio.Event]:
    """Return what is set by an interruption; afterwards signals mean what they meant before."""
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, came.set)
    try:
        yield came
    finally:
        for number, meaning in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, meaning)


async def is_cut_short(
    work: Coroutine[Any, Any, None], came: asyncio.Event, *, look: Callable[[], None] = lambda: None
) -> bool:
    """Do something and have it looked at; return whether an interruption, which is over with that, cut it short."""
    task, interrupted = asyncio.create_task(work), asyncio.create_task(came.wait())
    try:
        while not (task.done() or came.is_set()):
            await asyncio.wait([task, interrupted], timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            look()
        is_cut = not task.done()
        if is_cut:
            came.clear()  # taken: another that comes while the work is put away counts for what follows
    finally:
        interrupted.cancel()
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    look()
    return is_cut
