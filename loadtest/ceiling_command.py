"""``python -m loadtest ceiling``: how many orders a second this machine can offer before the generator itself is late.

Against a server that answers at once, from a process beside it. What is offered is an order and the read of its end.
"""

from __future__ import annotations

import asyncio
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

console = Console(highlight=False, soft_wrap=True)


def ceiling(
    *,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, callback=finite, help="How long each rate is offered.")
    ] = 10.0,
    port: Annotated[int, typer.Option(help="Where the server that it is offered to listens.")] = 8790,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/loadtest/ceiling.json"),
) -> None:
    """Search the highest rate that this machine can offer with less than 5 ms of lateness of its own at p99."""
    console.print(f"offering orders to a server that does nothing, {seconds:g} s for each rate")
    facts = _facts()
    try:
        check_file(output)
        found, tries = _searched(seconds, port)
    except KeyboardInterrupt:
        console.print("stopped before an end was found")
        sys.exit(STOPPED)
    except NoPlace as error:
        console.print(str(error), markup=False)
        sys.exit(UNUSABLE)
    except OSError as error:
        console.print(f"{error}; choose another with --port", markup=False)
        sys.exit(UNUSABLE)
    ends = {"offered_per_s": found.carried, "late_per_s": found.missed, "is_settled": found.is_settled}
    write_findings(output, {**facts, **ends, "seconds": seconds, "tries": tries})
    console.print(f"{said_of(found)}\nwritten to {output}", markup=False)
    sys.exit(0 if found.carried else MISSED)


def said_of(found: Bracket) -> str:
    """Say in a line what was found, and where it is not to be believed."""
    if not found.carried:
        return "late even at the lowest rate: this machine is busy with something else"
    return f"offered {found.carried:.4g} orders a second in time, not {found.missed:.4g}{found.doubt}"


def _searched(seconds: float, port: int) -> tuple[Bracket, list[Mapping[str, float]]]:
    from loadtest.answers import answering  # noqa: PLC0415 -- brings the HTTP server
    from loadtest.openloop.capacity import highest_rate  # noqa: PLC0415 -- as above

    tries: list[Mapping[str, float]] = []

    async def is_in_time(rate: float, _number: int) -> bool:
        tries.append(await _offered(rate, seconds, target))
        late_ms, errors = tries[-1]["lateness_p99_ms"], tries[-1]["errors"]
        console.print(f"  {rate:8.4g} a second: lateness p99 {late_ms:.2f} ms, {errors:.0f} errors")
        return late_ms <= LATE_S * 1e3 and not errors

    with answering(port) as target:
        return asyncio.run(highest_rate(is_in_time, start=START)), tries


async def _offered(rate: float, seconds: float, target: str) -> Mapping[str, float]:
    from loadtest.figures import percentile  # noqa: PLC0415 -- as above
    from loadtest.openloop.run import perform  # noqa: PLC0415 -- as above
    from loadtest.openloop.telling import watching  # noqa: PLC0415 -- as above

    load = _load(rate, seconds, target)
    # Watched as a load of ``run`` is: what it takes to tell how it goes is part of what it takes.
    with watching(console, len(load.orders)) as watch:
        result = await perform(load, watch=watch)
    if result.was_stopped:
        raise KeyboardInterrupt
    lateness = [record.lateness_s for record in result.records]
    return {
        "rate": rate,
        "lateness_p99_ms": percentile(lateness, 0.99) * 1e3,
        "errors": float(sum(record.is_error for record in result.records)),
    }


def _load(rate: float, seconds: float, target: str) -> Load:
    from loadtest.openloop.order import Order  # noqa: PLC0415 -- as above
    from loadtest.openloop.run import Load  # noqa: PLC0415 -- as above

    orders: list[Order] = [Order(at_s=number / rate, tenant="one") for number in range(max(int(rate * seconds), 1))]
    return Load(orders=orders, target=target, keys=["none"], poll_s=None, patience_s=60.0)


def _facts() -> dict[str, Any]:
    from loadtest.machine import commit, machine  # noqa: PLC0415 -- asks git and every package

    return {"command": "python -m loadtest ceiling", "commit": commit(), "machine": dict(machine())}
