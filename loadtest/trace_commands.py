"""``python -m loadtest trace``: make a trace up, or record one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from loadtest.exits import UNUSABLE
from loadtest.options import finite
from loadtest.place import NoPlace, check_file

app = typer.Typer(no_args_is_help=True, help="Make a trace up, or record one from a task table.")
console = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def make(
    *,
    output: Annotated[Path, typer.Option(help="Where the trace goes.")],
    rate: Annotated[float, typer.Option(min=0.000001, callback=finite, help="Orders per second, on average.")] = 1.0,
    seconds: Annotated[float, typer.Option(min=0.1, callback=finite, help="How long orders come.")] = 3600.0,
    tenants: Annotated[int, typer.Option(min=1, max=100_000)] = 30,
    seed: Annotated[int, typer.Option()] = 7,
    bursty: Annotated[bool, typer.Option(help="Whether the rate changes between a calm and a peak.")] = False,
) -> None:
    """Draw a trace from a seed, with the statistics of real ones."""
    from loadtest.openloop.due import orders_of  # noqa: PLC0415 -- brings pydantic; help needs none
    from loadtest.openloop.profile import TooManyOrders  # noqa: PLC0415 -- as above
    from loadtest.traces.synthetic import synthetic  # noqa: PLC0415 -- as above

    profile = synthetic(rate=rate, seconds=seconds, tenants=tenants, seed=seed, is_bursty=bursty)
    about = {"seed": seed, "rate": rate, "seconds": seconds, "bursty": bursty}
    try:
        check_file(output)
        orders = orders_of(profile)
    except (NoPlace, TooManyOrders) as error:
        console.print(str(error), markup=False)
        sys.exit(UNUSABLE)
    _written(output, orders, made_by="loadtest trace make", **about)


@app.command()
def record(
    database: Annotated[
        str,
        typer.Argument(
            envvar="UXO_DATABASE_URL",
            help="Address of the task table, such as sqlite:///var/uxo.db; one with a password is best not typed.",
        ),
    ],
    *,
    output: Annotated[Path, typer.Option(help="Where the trace goes.")],
    since: Annotated[str, typer.Option(help="Only what came from then on: an ISO time, or how long ago (24h).")] = "",
    until: Annotated[str, typer.Option(help="Only what came before, said in the same ways.")] = "",
) -> None:
    """Turn the task table of a live system into a trace without prompts, pictures and names; reads only."""
    from deployments.clock import utc_now  # noqa: PLC0415 -- with the rest
    from loadtest.traces.recorder import record as recorded  # noqa: PLC0415 -- brings the database
    from loadtest.traces.span import UnreadableSpan, parse_span  # noqa: PLC0415 -- as above
    from loadtest.traces.table import NoDatabase  # noqa: PLC0415 -- as above

    try:
        span = parse_span(since, until, now=utc_now())
        check_file(output)
        orders = asyncio.run(recorded(database, span=span))
    except (NoPlace, NoDatabase, UnreadableSpan) as error:
        console.print(str(error), markup=False)
        sys.exit(UNUSABLE)
    _written(output, orders, made_by="loadtest trace record", **span.named())


def _written(output: Path, orders: list[Any], *, made_by: str, **about: Any) -> None:
    from loadtest.traces.lines import write_trace  # noqa: PLC0415 -- as above
    from loadtest.traces.synthetic import statistics_of  # noqa: PLC0415 -- as above

    if not orders:
        console.print("no order came in that time, so there is nothing to write")
        sys.exit(UNUSABLE)
    output.write_text("".join(f"{line}\n" for line in write_trace(orders, made_by=made_by, **about)), encoding="utf-8")
    console.print(f"{output}: {statistics_of(orders)}")
