"""``python -m loadtest ceiling``: how many orders a second this machine can offer before the generator itself is late.

Against a server that does nothing, from a process beside it. What a generator makes is calls: an order is one, and each
read of it until it has ended is another, so who reads for longer can offer fewer orders.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from loadtest.exits import MISSED, STOPPED, UNUSABLE
from loadtest.findings import write_findings
from loadtest.options import finite
from loadtest.place import NoPlace, check_file

if TYPE_CHECKING:
    from loadtest.openloop.capacity import Bracket
    from loadtest.openloop.order import Order
    from loadtest.openloop.run import Load

#: The lateness at p99, in seconds, from which on a load is no longer the one that was asked for.
LATE_S = 0.005
#: Orders a second with which the search begins.
START = 100.0
#: Seconds between two reads of an order.
POLL_S = 1.0

console = Console(highlight=False, soft_wrap=True)


def ceiling(
    *,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, callback=finite, help="How long each rate is offered.")
    ] = 10.0,
    reads: Annotated[
        int, typer.Option(min=1, max=1000, help="How often each order is read, once a second, until it has ended.")
    ] = 1,
    port: Annotated[int, typer.Option(help="Where the server that it is offered to listens.")] = 8790,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/loadtest/ceiling.json"),
) -> None:
    """Search the highest rate that this machine can offer with less than 5 ms of lateness of its own at p99."""
    console.print(f"offering orders to a server that does nothing, {seconds:g} s for each rate, {1 + reads} calls each")
    facts = _facts(f"python -m loadtest ceiling --seconds {seconds:g} --reads {reads}")
    try:
        check_file(output)
        found, tries = _searched(seconds, port, reads)
    except KeyboardInterrupt:
        console.print("stopped before an end was found")
        sys.exit(STOPPED)
    except NoPlace as error:
        console.print(str(error), markup=False)
        sys.exit(UNUSABLE)
    except OSError as error:
        console.print(f"{error}; choose another with --port", markup=False)
        sys.exit(UNUSABLE)
    ends = {
        "calls_per_s": found.carried * (1 + reads),
        "late_calls_per_s": found.missed * (1 + reads),
        "offered_per_s": found.carried,
        "late_per_s": found.missed,
        "reads_of_an_order": reads,
        "is_settled": found.is_settled,
    }
    write_findings(output, {**facts, **ends, "seconds": seconds, "tries": tries})
    console.print(f"{said_of(found, reads)}\nwritten to {output}", markup=False)
    sys.exit(0 if found.carried else MISSED)


def said_of(found: Bracket, reads: int) -> str:
    """Say in a line what was found, and where it is not to be believed."""
    if not found.carried:
        return "late even at the lowest rate: this machine is busy with something else"
    calls = 1 + reads
    return (
        f"made {found.carried * calls:.4g} calls a second in time, not {found.missed * calls:.4g}: "
        f"{found.carried:.4g} orders a second with {calls} calls each{found.doubt}"
    )


def _searched(seconds: float, port: int, reads: int) -> tuple[Bracket, list[Mapping[str, float]]]:
    from loadtest.answers import answering  # noqa: PLC0415 -- brings the HTTP server
    from loadtest.openloop.capacity import highest_rate  # noqa: PLC0415 -- as above

    tries: list[Mapping[str, float]] = []

    async def is_in_time(rate: float, _number: int) -> bool:
        tries.append(await _offered(rate, seconds=seconds, target=target, reads=reads))
        calls, late_ms, errors = (tries[-1][name] for name in ("calls_per_s", "lateness_p99_ms", "errors"))
        console.print(
            f"  {rate:8.4g} orders, {calls:.4g} calls a second: lateness p99 {late_ms:.2f} ms, {errors:.0f} errors"
        )
        return late_ms <= LATE_S * 1e3 and not errors

    with answering(port, reads=reads) as target:
        return asyncio.run(highest_rate(is_in_time, start=START)), tries


async def _offered(rate: float, *, seconds: float, target: str, reads: int) -> Mapping[str, float]:
    from loadtest.figures import percentile  # noqa: PLC0415 -- as above
    from loadtest.openloop.run import perform  # noqa: PLC0415 -- as above
    from loadtest.openloop.telling import watching  # noqa: PLC0415 -- as above

    # Only when the first orders have been read for the last time are there as many calls as there will be.
    growing_s = (reads - 1) * POLL_S
    load = _load(rate, growing_s + seconds, target)
    judged_from_s = min(growing_s, load.orders[-1].at_s)
    # Watched as a load of ``run`` is: what it takes to tell how it goes is part of what it takes.
    with watching(console, len(load.orders)) as watch:
        result = await perform(load, watch=watch)
    if result.was_stopped:
        raise KeyboardInterrupt
    lateness = [record.lateness_s for record in result.records if record.order.at_s >= judged_from_s]
    return {
        "rate": rate,
        "calls_per_s": rate * (1 + reads),
        "lateness_p99_ms": percentile(lateness, 0.99) * 1e3,
        "errors": float(sum(record.is_error for record in result.records)),
    }


def _load(rate: float, seconds: float, target: str) -> Load:
    from loadtest.openloop.order import Order  # noqa: PLC0415 -- as above
    from loadtest.openloop.run import Load  # noqa: PLC0415 -- as above

    orders: list[Order] = [Order(at_s=number / rate, tenant="one") for number in range(math.ceil(rate * seconds))]
    return Load(orders=orders, target=target, keys=["none"], poll_s=POLL_S, patience_s=60.0 + seconds)


def _facts(command: str) -> dict[str, Any]:
    from loadtest.machine import commit, machine  # noqa: PLC0415 -- asks git and every package

    return {"command": command, "commit": commit(), "machine": dict(machine())}
