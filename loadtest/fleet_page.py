"""The tables of a page about fleets: ``python -m loadtest.fleet_page FILE`` prints those of a run once more."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.exits import UNUSABLE
from loadtest.figures import markdown

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


#: A table of fleets on a page.
_TABLE = re.compile(r"^\| scene \|.*(?:\n\|.*)*", re.MULTILINE)


@app.command()
def fleet_page(
    file: Annotated[Path, typer.Argument(help="JSON that python -m loadtest.fleet wrote.")],
    *,
    into: Annotated[Path | None, typer.Option(help="A page whose tables of fleets are written anew.")] = None,
) -> None:
    """Print what callers met and what the store was asked for, as Markdown, or put it into a page."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if into:
            into.write_text(with_tables(into.read_text(encoding="utf-8"), report), encoding="utf-8")
        sys.stdout.write(tables(report))
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{file}: no tables can be made of this: {error!r}\n")
        sys.exit(UNUSABLE)


def tables(report: Mapping[str, Any]) -> str:
    """Return both tables of a report of fleets, with an empty line between."""
    return "\n\n".join(_tables(report)) + "\n"


def with_tables(page: str, report: Mapping[str, Any]) -> str:
    """Return a page with both of its tables of fleets made from a report.

    Raises:
        ValueError: when the page does not have two.
    """
    if len(_TABLE.findall(page)) != len(_tables(report)):
        raise ValueError("the page does not have two tables that begin with: | scene |")
    new = iter(_tables(report))
    return _TABLE.sub(lambda _old: next(new), page)


def _tables(report: Mapping[str, Any]) -> list[str]:
    return [markdown(rows(report["scenes"])) for rows in (wait_rows, store_rows)]


def wait_rows(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Write how many tenants asked at all and how they fared, one line for each scene."""
    heading = [
        "scene",
        "tenants",
        "wait p50 / p95 / p99 s",
        "in time",
        "fairness",
        "done per s",
        "busy",
        "tried again",
        "refused",
    ]
    return [
        heading,
        *(
            [
                each["scene"],
                f"{each['tenants']:,}",
                " / ".join(f"{each['wait_s'][name] or 0:.2f}" for name in ("p50", "p95", "p99")),
                f"{each['in_time']:.3f}",
                f"{each['fairness']:.3f}",
                f"{each['per_s']:.0f}",
                f"{each['busy']:.2f}",
                str(each["rescued"]),
                f"{each['error_share']:.3f}",
            ]
            for each in found
        ),
    ]


def store_rows(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Write what the store is asked for, transactions and statements per second, one line for each scene."""
    names = list(found[0]["statements_per_s"])
    return [
        ["scene", *names],
        *(
            [
                each["scene"],
                *(f"{each['asked_per_s'][name]:.0f} ({each['statements_per_s'][name]})" for name in names),
            ]
            for each in found
        ),
    ]


if __name__ == "__main__":
    app()
