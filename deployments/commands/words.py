"""How commands read and write: money, lengths of time, tables and JSON. Pure but for the two that print.

Whatever a tenant wrote is shown with its control characters spelt out, so that none of it can act on a terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Millionths of a dollar in a dollar: the unit in which money is kept.
MILLIONTHS = 1_000_000
#: Dollars that may be given at most.
MAX_DOLLARS = 1_000_000_000
#: Columns of a table that no terminal has.
WIDE = 1000

#: Results go here, and nothing else.
output = Console(highlight=False, markup=False, emoji=False)
#: What goes wrong, and what is said besides, goes here.
remarks = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

_UNITS_S = MappingProxyType({"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0})
_LENGTH = re.compile(r"(?P<number>\d{1,9}(\.\d{1,3})?)(?P<unit>[smhd])", re.ASCII)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print one line per row, however wide, or ``empty`` when there are none; None is shown as a dash."""
    if not rows:
        output.print(empty, soft_wrap=True)
        return
    table = _table(rows)
    for column, heading in zip(table.columns, columns, strict=True):
        column.header, column.no_wrap = heading, True
    # Wider than any terminal, which folds what is too long for it as a whole; a table would fold every cell.
    Console(width=WIDE).print(table)


def print_page(rows: Sequence[tuple[str, object]]) -> None:
    """Print what is known of one thing, a line each, long ones folded beside their names."""
    table = _table(rows)
    table.show_header = False
    table.columns[0].no_wrap = True
    Console(width=None if output.is_terminal else WIDE).print(table)


def _table(rows: Sequence[Sequence[object]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for _ in rows[0]:
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    return table


def print_json(value: object) -> None:
    """Print a value for scripts; moments are written as ISO 8601."""
    # Past rich, which would break long lines; ASCII, so that nothing in it can act on a terminal.
    typer.echo(json.dumps(value, indent=2, default=_moment))


def _moment(value: datetime) -> str:
    return value.isoformat()


def shown(cell: object) -> str:
    """Write one value for a terminal."""
    if cell is None:
        return "-"
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in str(cell))


def dollars(amount: int | None) -> str | None:
    """Write money: at least cents, and as many digits more as it has."""
    if amount is None:
        return None
    whole, _, fraction = f"{Decimal(amount) / MILLIONTHS:,.6f}".partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}${digits}.{fraction.rstrip('0').ljust(2, '0')}"


def in_dollars(amount: int | None) -> float | None:
    """Write money as a number, for scripts; exact to a millionth."""
    return None if amount is None else amount / MILLIONTHS


def read_dollars(text: str) -> int:
    """Read money as an operator gives it.

    Returns:
        Millionths of a dollar.

    Raises:
        typer.BadParameter: when it is no amount of whole millionths.
    """
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or not 0 <= amount <= MAX_DOLLARS or amount * MILLIONTHS % 1:
        raise typer.BadParameter(f"{shown(text)!r} is no amount of dollars such as 12.5")
    return int(amount * MILLIONTHS)


def age(seconds: float | None) -> str | None:
    """Write a length of time as people say it: ``3 m``."""
    if seconds is None:
        return None
    for unit, length_s, until in (("s", 1, 120), ("m", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < until:
            return f"{max(seconds, 0) // length_s:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"


def read_address(text: str) -> str:
    """Read an address that is called.

    Raises:
        typer.BadParameter: when it is no http or https URL; does not repeat it, for it may be a permission.
    """
    from deployments.outbound.urls import UnreadableUrl, read_callback  # noqa: PLC0415 -- loads slowly

    try:
        return read_callback(text)
    except UnreadableUrl as error:
        raise typer.BadParameter(f"this {error}") from error


def read_length(text: str) -> float:
    """Read a length of time such as ``90s``, ``15m``, ``12h`` or ``7d``.

    Returns:
        Seconds.

    Raises:
        typer.BadParameter: when it is none.
    """
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{shown(text)!r} is no length of time such as 90s, 15m, 12h or 7d")
    return float(found["number"]) * _UNITS_S[found["unit"]]


def read_size(text: str) -> int:
    """Read a number of bytes such as ``500mb``, ``2gb`` or ``64mib``.

    Returns:
        Bytes.

    Raises:
        typer.BadParameter: when it is none.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError  # noqa: PLC0415 -- loads slowly

    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise typer.BadParameter(f"{shown(text)!r} is no size such as 500mb, 2gb or 64mib") from error


def size(size_bytes: int | None) -> str | None:
    """Write a number of bytes as people say it: ``2 GB``."""
    if size_bytes is None:
        return None
    power = min(max(len(str(size_bytes)) - 1, 0) // 3, 4)
    return f"{size_bytes / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def read_name(text: str) -> str:
    """Read a name or an id; what holds control characters is none.

    Raises:
        typer.BadParameter: when it holds any, or nothing.
    """
    if not text or not text.isprintable():
        raise typer.BadParameter(f"{shown(text)!r} is no name")
    return text


def count(number: int, noun: str) -> str:
    """Write how many there are: ``1 task``, ``2 tasks``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


#: The option that every command has for scripts.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
#: The name of a tenant that a command is about.
TenantName = Annotated[str, typer.Argument(metavar="TENANT", parser=read_name, help="A tenant's name.")]
#: An option that narrows a command to one tenant.
OfTenant = Annotated[str | None, typer.Option("--tenant", metavar="NAME", parser=read_name, help="Only this tenant's.")]
