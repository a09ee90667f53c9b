"""From the task table of a live system to a trace: who asked for how much and when, but no prompt and no picture.

Reads only, page by page. The service forgets what a task was to make soon after its success, so sizes are taken from
its pictures. What nobody noted any more is what fits its work units best: references, and of a task without pictures
its size; where several counts of pictures fit, it is the fewest.
Tenants become numbers in the order in which they first came.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from sqlalchemy import Double, Integer, Row, and_, bindparam, make_url, or_, select

from deployments.database.database import Database, open_database
from deployments.database.schema import tasks
from deployments.database.sqlite import SqliteDatabase
from deployments.errors import Unavailable
from loadtest.openloop.order import Order
from loadtest.openloop.speech import SPEECHES
from models.catalog import CATALOG, SIZE_PRESETS
from models.cost import work_units
from models.request import GenerationRequest, Reference, Role

#: Rows that are read at once; each may hold pictures, where they are kept inline.
PAGE = 200

_LATER = or_(
    tasks.c.created_at > bindparam("after_s", type_=Double),
    and_(tasks.c.created_at == bindparam("after_s", type_=Double), tasks.c.id > bindparam("after_id")),
)
#: The next page of what callers asked for, in the order of arrival; what operators repeated is left out.
READ_PAGE = (
    select(
        tasks.c.id,
        tasks.c.tenant_id,
        tasks.c.dialect,
        tasks.c.model,
        tasks.c.state,
        tasks.c.steps_total,
        tasks.c.work_units,
        tasks.c.created_at,
        tasks.c.finished_at,
        tasks.c.outputs,
    )
    .where(_LATER, tasks.c.replay_of.is_(None))
    .order_by(tasks.c.created_at, tasks.c.id)
    .limit(bindparam("at_most", type_=Integer))
)


class NoDatabase(Exception):
    """There is nothing to record from; the message says why in one line."""


async def record(url: str) -> list[Order]:
    """Read every task of a database as orders; the first is due at 0.

    Raises:
        NoDatabase: when there is none, it cannot be reached, or it is not one of ours.
    """
    database = await _opened(url)
    numbers: dict[str, str] = {}
    orders: list[Order] = []
    started_s = None
    try:
        async for row in _rows(database):
            started_s = row.created_at if started_s is None else started_s
            tenant = numbers.setdefault(row.tenant_id, f"tenant-{len(numbers) + 1:03}")
            orders.append(order_of(row, at_s=row.created_at - started_s, tenant=tenant))
    except Unavailable as error:
        raise NoDatabase(f"the database cannot be read: {error}") from error
    finally:
        await database.close()
    return orders


def order_of(row: Row[Any], *, at_s: float, tenant: str) -> Order:
    """Return the order that a task's row tells of."""
    pictures = json.loads(row.outputs)
    roles = _roles(row.model, row.dialect)
    width, height, images, references = _fitting(
        row.model, roles, row.steps_total, row.work_units, len(pictures), _size_of(pictures)
    )
    was_cancelled = row.state == "cancelled" and row.finished_at is not None
    return Order(
        at_s=at_s,
        tenant=tenant,
        dialect=row.dialect if row.dialect in SPEECHES else "wavespeed",
        model=row.model,
        width=width,
        height=height,
        references=references,
        steps=max(row.steps_total // images, 1),
        images=images,
        cancel_after_s=max(row.finished_at - row.created_at, 0.0) if was_cancelled else None,
    )


async def _opened(url: str) -> Database:
    try:
        if make_url(url).get_backend_name() != "sqlite":
            return await open_database(url)
        # Opened in the usual way, a file would be made or migrated; a recorder changes nothing.
        _check_file(Path(make_url(url).database or ""))
        return SqliteDatabase(url)
    except (ValueError, Unavailable) as error:
        raise NoDatabase(str(error)) from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise NoDatabase(f"there is no file {path}")


async def _rows(database: Database) -> AsyncIterator[Row[Any]]:
    after = {"after_s": 0.0, "after_id": ""}
    while page := await database.rows(READ_PAGE, {**after, "at_most": PAGE}):
        for row in page:
            yield row
        after = {"after_s": page[-1].created_at, "after_id": page[-1].id}


def _size_of(pictures: Sequence[Any]) -> tuple[int, int] | None:
    sizes = [(each.get("width"), each.get("height")) for each in pictures]
    return sizes[0] if sizes and all(sizes[0]) else None


def _roles(model: str, dialect: str) -> tuple[Role, ...]:
    """Return what each reference of a request is to a model, in the order in which its dialect takes them."""
    allowed = CATALOG[model].max_references
    if dialect == "wavespeed" and Role.STYLE in allowed:  # its USO takes styles and nothing else
        return (Role.STYLE,) * allowed[Role.STYLE]
    return tuple(role for role in Role for _ in range(allowed.get(role, 0)))


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
        return abs(work_units(wish) - units)

    (width, height), images, references = min(product(sizes, counts, range(len(roles) + 1)), key=distance)
    return width, height, images, references
