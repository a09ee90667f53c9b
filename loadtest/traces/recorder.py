"""From the task table of a live system to a trace: who asked for how much and when, but no prompt and no picture.

Reads only, in one pass. The service forgets what a task was to make soon after its success, so sizes are taken from
its pictures. What nobody noted any more is what fits its work units best: references, and of a task without pictures
its size; where several counts of pictures fit, it is the fewest.
Tenants become numbers in the order in which they first came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from loadtest.openloop.order import Order
from loadtest.openloop.speech import SPEECHES
from loadtest.roles import roles_of
from loadtest.traces.span import Span
from loadtest.traces.table import NoDatabase, rows_of
from models.catalog import SIZE_PRESETS
from models.cost import cost_table, work_units
from models.request import GenerationRequest, Reference, Role

#: Who says a model's orders that came in a dialect which no load speaks: who has words for the same sizes, steps and
#: roles of references. WaveSpeed would round the sizes of UNO, and has none for those of USO.
STAND_INS: Mapping[str, str] = MappingProxyType({"uno": "runware", "uso": "fal"})


async def record(url: str, *, span: Span | None = None) -> list[Order]:
    """Read every task of a database that came in a span as orders; the first is due at 0.

    Raises:
        NoDatabase: when there is none, it cannot be reached, it is not one of ours, or nothing came.
    """
    span = span or Span()
    found = [
        ((row.created_at, row.id), order_of(row, at_s=row.created_at, tenant=row.tenant_id))
        async for row in rows_of(url, span)
    ]
    if not found:
        ends = " ".join(f"{name} {end}" for name, end in span.named().items())
        raise NoDatabase(f"nobody asked this database for a task {ends}".rstrip())
    found.sort(key=lambda each: each[0])
    return _without_names([order for _, order in found])


def _without_names(orders: Sequence[Order]) -> list[Order]:
    numbers: dict[str, str] = {}
    return [
        replace(
            order,
            at_s=order.at_s - orders[0].at_s,
            tenant=numbers.setdefault(order.tenant, f"tenant-{len(numbers) + 1:03}"),
        )
        for order in orders
    ]


def order_of(row: Row[Any], *, at_s: float, tenant: str) -> Order:
    """Return the order that a task's row tells of."""
    roles = roles_of(row.model, row.dialect)
    width, height, images, references = _fitting(
        row.model, roles, row.steps_total, row.work_units, _pictures_of(row), _size_of(row)
    )
    was_cancelled = row.state == "cancelled" and row.finished_at is not None
    return Order(
        at_s=at_s,
        tenant=tenant,
        dialect=row.dialect if row.dialect in SPEECHES else STAND_INS[row.model],
        model=row.model,
        width=width,
        height=height,
        references=references,
        steps=max(row.steps_total // images, 1),
        images=images,
        cancel_after_s=max(row.finished_at - row.created_at, 0.0) if was_cancelled else None,
    )


def _pictures_of(row: Row[Any]) -> int:
    """Count pictures: each is placed once for every sink of its task."""
    placed: int = row.outputs
    return -(-placed // len(row.sink.split(",")))


def _size_of(row: Row[Any]) -> tuple[int, int] | None:
    width, height = int(row.width or 0), int(row.height or 0)
    return (width, height) if width and height else None


@cache
def _fitting(
    model: str, roles: tuple[Role, ...], steps_total: int, units: float, pictures: int, size: tuple[int, int] | None
) -> tuple[int, int, int, int]:
    """Return width, height, pictures and references whose work is nearest to what was counted; fewest where it ties."""
    sizes = [size] if size else list(dict.fromkeys(SIZE_PRESETS.values()))
    counts = [pictures] if pictures else [count for count in (1, 2, 3, 4) if steps_total % count == 0]

    def distance(found: tuple[tuple[int, int], int, int]) -> float:
        (width, height), images, references = found
        wish = GenerationRequest(
            model=model,
            prompt="",
            references=tuple(Reference(role=role, source="") for role in roles[:references]),
            width=width,
            height=height,
            num_images=images,
            num_inference_steps=max(steps_total // images, 1),
            guidance_scale=3.5,
            seed=0,
        )
        return abs(work_units(wish, cost_table()) - units)

    (width, height), images, references = min(product(sizes, counts, range(len(roles) + 1)), key=distance)
    return width, height, images, references
