"""The file format of traces: JSON lines, a heading and then one order each. Pure.

    {"trace": 1, "made_by": "loadtest trace make", "seed": 7}
    {"at_s": 0.42, "tenant": "tenant-001", "model": "uno", "width": 512, "height": 512, "references": 1, …}

Fields that are as they usually are may be left out; fields that are unknown are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError

from loadtest.openloop.order import Order
from loadtest.openloop.profile import DialectName

VERSION = 1


class _Line(BaseModel):
    """An order as a line may have it, with the bounds that a file of strangers needs."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    at_s: NonNegativeFloat
    tenant: str
    dialect: DialectName = "wavespeed"
    model: Literal["uno", "uso"] = "uno"
    width: PositiveInt = 1024
    height: PositiveInt = 1024
    references: NonNegativeInt = 1
    steps: PositiveInt = 28
    images: PositiveInt = 1
    cancel_after_s: NonNegativeFloat | None = None
    is_bad: bool = False


class UnreadableTrace(ValueError):
    """The text is no trace; the message says which line and why."""


def write_trace(orders: Sequence[Order], *, made_by: str, **about: Any) -> Iterable[str]:
    """Yield the lines of a trace.

    Args:
        orders: by due time.
        made_by: what made it.
        about: what else the heading says, such as a seed.
    """
    yield json.dumps({"trace": VERSION, "made_by": made_by, **about})
    usual = asdict(Order(at_s=0, tenant=""))
    for order in orders:
        written = asdict(order) | {"at_s": round(order.at_s, 6)}
        kept = {name: value for name, value in written.items() if name in {"at_s", "tenant"} or value != usual[name]}
        yield json.dumps(kept)


def read_trace(lines: Iterable[str]) -> list[Order]:
    """Read the orders of a trace; they are sorted by due time.

    Raises:
        UnreadableTrace: when the heading or a line is not what it should be.
    """
    numbered = enumerate(lines, start=1)
    _check_heading(next(numbered, (1, ""))[1])
    orders = [_order(number, line) for number, line in numbered if line.strip()]
    return sorted(orders, key=lambda order: order.at_s)


def _check_heading(line: str) -> None:
    try:
        heading = json.loads(line)
    except ValueError:
        heading = None
    if not isinstance(heading, dict) or heading.get("trace") != VERSION:
        raise UnreadableTrace(f'line 1: a trace begins with {{"trace": {VERSION}}}')


def _order(number: int, line: str) -> Order:
    try:
        return Order(**_Line.model_validate_json(line).model_dump())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'line'}: {each['msg']}" for each in error.errors())
        raise UnreadableTrace(f"line {number}: {wrong}") from error
