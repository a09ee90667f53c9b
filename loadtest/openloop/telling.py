"""What a load says while it runs, and at its end: a line that moves on a terminal, one every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtest.figures import percentile
from loadtest.openloop.record import Book, End

#: Seconds between two lines where there is no terminal.
EVERY_S = 5.0


@contextmanager
def watching(console: Console, orders: int) -> Iterator[Callable[[Book], None]]:
    """Yield what is told how a load goes; it speaks for the first time at once."""
    started = time.monotonic()
    if console.is_terminal:
        with console.status("0 sent") as status:
            yield lambda book: status.update(progress_line(book, time.monotonic() - started, orders))
        return
    told_at = -EVERY_S

    def tell(book: Book) -> None:
        nonlocal told_at
        at = time.monotonic() - started
        if at - told_at >= EVERY_S:
            told_at = at
            console.print("  " + progress_line(book, at, orders))

    yield tell


def progress_line(book: Book, seconds: float, orders: int) -> str:
    """Say how a load goes; the latencies are those of the last orders that succeeded."""
    in_flight, succeeded = book.ends[End.IN_FLIGHT], book.ends[End.SUCCEEDED]
    counts = f"{book.sent} of {orders} sent, {in_flight} in flight, {succeeded} ok, {book.errors} errors"
    latest = ", ".join(f"p{rank} {percentile(book.latest_s, rank / 100):.3g} s" for rank in (50, 95) if book.latest_s)
    latencies = f"; the last {len(book.latest_s)} took {latest}" if latest else ""
    return f"{seconds:.0f} s: {counts}{latencies}" + ("; reading every task once more" if book.is_closed else "")


def tell_findings(console: Console, found: Mapping[str, Any], folder: Path) -> None:
    """Say what came of a load, in a few lines."""
    without = "never" if found["endless"] else "none"
    latency = ", ".join(f"{name} {_seconds(value, without)}" for name, value in found["latency_s"].items())
    console.print(f"{found['orders']} orders, {found['succeeded_per_s']} a second succeeded; latency {latency}")
    if found["warm_up"]["seconds"]:
        console.print(
            f"not judged: the {found['warm_up']['orders']} orders of the first {found['warm_up']['seconds']:g} s"
        )
    console.print(f"the generator's own lateness: p99 {_seconds(found['lateness_s']['p99'], 'none')}")
    if found["error_share"] in (None, 1.0):
        console.print("nothing succeeded: every order went wrong")
    for kind, count in found["errors"].items():
        said = found["error_samples"].get(kind)
        console.print(f"  {count} errors: {kind}" + (f", such as: {said}" if said else ""), markup=False)
    console.print(f"ledger {found['ledger']['text']}", markup=False)
    for each in found["slo"]:
        console.print(f"SLO {each['text']}", markup=False)
    console.print(f"report in {folder / 'report.html'}")


def _seconds(value: float | None, without: str) -> str:
    return without if value is None else f"{value:.3f} s"
