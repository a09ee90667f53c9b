"""Counts the bytes that each tenant keeps for its requests to refer to, so that none of them fills the disk.

    reserve ──► taken at once, or a grant ── take ──► taken
       ▲                          │  ▲                  │
       └────────── room ◄─────────┘  └──── reopen ──────┤
                     ▲        its time is over          │
                     └──────────────────────────────────┘ dropped, or its time is over

A grant holds room for the largest picture until it is taken up. Whoever reserves holds the tenant's row, so no two
reservations of a tenant are judged at the same time. Knows no file; the time is the one by which files end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import BigInteger, Connection, Double, Text, bindparam, delete, func, insert, select, update

from deployments.database.database import Database
from deployments.database.schema import kept_pictures, tenants
from deployments.errors import BodyTooLarge, QuotaExceeded, Unauthenticated

_TENANT = bindparam("this_tenant", type_=Text)
_VALUE = bindparam("this_value", type_=Text)
_SIZE = bindparam("this_size", type_=BigInteger)
_NOW = bindparam("now_s", type_=Double)
_EXPIRY = bindparam("this_expiry", type_=Double)
_IS_THIS = kept_pictures.c.value == _VALUE
_IS_OPEN = kept_pictures.c.taken_at.is_(None)
_IS_KEPT = kept_pictures.c.expires_at > _NOW

#: Read how much a tenant may keep, and hold up everybody else who reserves for it.
LOCK_LIMIT = select(tenants.c.max_kept).where(tenants.c.id == _TENANT).with_for_update()

#: Add up what a tenant keeps.
MEASURE = select(func.coalesce(func.sum(kept_pictures.c.size_bytes), 0)).where(
    kept_pictures.c.tenant_id == _TENANT, _IS_KEPT
)

_FREED = (
    select(
        kept_pictures.c.expires_at,
        func.sum(kept_pictures.c.size_bytes).over(order_by=kept_pictures.c.expires_at).label("size_bytes"),
    )
    .where(kept_pictures.c.tenant_id == _TENANT, _IS_KEPT)
    .subquery()
)

#: Read when so many bytes of a tenant have ended by themselves.
FREED_AT = select(func.min(_FREED.c.expires_at)).where(_FREED.c.size_bytes >= _SIZE)

#: Write down a picture, or a grant of one.
INSERT = insert(kept_pictures)

#: Read how much room a grant holds that nobody has taken up.
READ_OPEN = select(kept_pictures.c.size_bytes).where(_IS_THIS, _IS_OPEN, _IS_KEPT)

#: Take up a grant, unless somebody else was first.
TAKE = update(kept_pictures).where(_IS_THIS, _IS_OPEN).values(size_bytes=_SIZE, expires_at=_EXPIRY, taken_at=_NOW)

#: Give a grant back whose picture could not be written.
REOPEN = update(kept_pictures).where(_IS_THIS).values(expires_at=_EXPIRY, taken_at=None)

#: Forget pictures that were deleted.
GIVE_BACK = delete(kept_pictures).where(kept_pictures.c.value.in_(bindparam("these_values", expanding=True)))

#: Forget what has ended by itself, grants that nobody took up too.
FORGET = delete(kept_pictures).where(kept_pictures.c.expires_at <= _NOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The room that one picture takes."""

    #: Names its file.
    value: str
    #: Who keeps it.
    tenant_id: str
    #: How much there is of it, or may be.
    size_bytes: int
    #: When it ends by itself, in seconds since 1970.
    expires_at: float
    #: Since when it is there, in seconds since 1970; None for a grant.
    taken_at: float | None = None


class KeptSpace:
    """The room of every tenant; every method raises Unavailable while the database cannot be reached."""

    def __init__(self, database: Database) -> None:
        """Take an open, migrated database."""
        self._database = database

    async def reserve(self, place: Place, *, now_s: float) -> None:
        """Hold room for a picture; a grant holds less where its tenant may keep less in all.

        Raises:
            BodyTooLarge: when the tenant may never keep as much.
            QuotaExceeded: when it keeps too much beside it; says when that will have ended.
            Unauthenticated: when there is no such tenant any more.
        """
        await self._database.write(lambda connection: _reserve(connection, place, now_s=now_s))

    async def take(self, value: str, *, size_bytes: int, expires_at: float, now_s: float) -> bool:
        """Take up a grant with a picture of so many bytes; False when it is none, or has been taken up.

        Raises:
            BodyTooLarge: when it holds less room than that.
        """
        values = {"this_value": value, "this_size": size_bytes, "this_expiry": expires_at, "now_s": now_s}
        return await self._database.write(lambda connection: _take(connection, values))

    async def reopen(self, value: str, *, until_s: float) -> None:
        """Let a grant be taken up once more, until then, after its picture could not be written."""
        values = {"this_value": value, "this_expiry": until_s}
        await self._database.write(lambda connection: connection.execute(REOPEN, values))

    async def give_back(self, values: Sequence[str]) -> None:
        """Free the room of pictures that are gone."""
        await self._database.write(lambda connection: connection.execute(GIVE_BACK, {"these_values": list(values)}))

    async def forget(self, *, now_s: float) -> int:
        """Forget what has ended by itself, and return how many."""
        return await self._database.write(lambda connection: connection.execute(FORGET, {"now_s": now_s}).rowcount)


def _reserve(connection: Connection, place: Place, *, now_s: float) -> None:
    row = connection.execute(LOCK_LIMIT, {"this_tenant": place.tenant_id}).one_or_none()
    if row is None:  # deleted after its key was looked up
        raise Unauthenticated
    size_bytes = place.size_bytes
    if row.max_kept is not None:
        is_grant = place.taken_at is None
        size_bytes = min(size_bytes, max(row.max_kept, 1)) if is_grant else size_bytes
        _check(connection, place.tenant_id, size_bytes, limit=row.max_kept, now_s=now_s)
    connection.execute(INSERT, asdict(place) | {"size_bytes": size_bytes})


def _check(connection: Connection, tenant_id: str, size_bytes: int, *, limit: int, now_s: float) -> None:
    if size_bytes > limit:
        raise BodyTooLarge(f"you may keep {limit:,} bytes of pictures in all")
    values = {"this_tenant": tenant_id, "now_s": now_s}
    too_many = int(connection.execute(MEASURE, values).scalar_one()) + size_bytes - limit
    if too_many > 0:
        freed_at = connection.execute(FREED_AT, values | {"this_size": too_many}).scalar_one()
        text = (
            f"you keep as many bytes of pictures as you may, {limit:,}; delete some, or wait until their time is over"
        )
        raise QuotaExceeded(text, retry_after_s=max(math.ceil(freed_at - now_s), 1))


def _take(connection: Connection, values: dict[str, object]) -> bool:
    held = connection.execute(READ_OPEN, values).scalar_one_or_none()
    if held is None:
        return False
    if int(str(values["this_size"])) > held:
        raise BodyTooLarge(f"you may keep {held:,} bytes of pictures in all")
    return bool(connection.execute(TAKE, values).rowcount)
