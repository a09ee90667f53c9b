"""Tenants and their keys in the database: what an operator makes, changes and takes away.

Keeps digests of keys, never keys. Knows no task; what tenants have spent is written where tasks are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Row, Text, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_fixed

from deployments.database.database import Database
from deployments.database.schema import api_keys, database_now, is_in_state, tasks, tenants
from deployments.errors import Unavailable, UxoError
from deployments.tenants.openings import MAX_OPENINGS, Opening, OpeningInvalid, read_opening
from deployments.tenants.tenant import TENANT_ID, Tenant

log = structlog.get_logger()

#: Keys of one tenant that are good at the same time: the old and the new one while callers change over.
MAX_LIVE_KEYS = 2
#: The largest limit of anything counted, and of money: what every database and JSON can hold.
MAX_COUNT, MAX_BUDGET = 2**31 - 1, 2**53

_THIS_ID = bindparam("this_id", type_=Text)
_THIS_TENANT = bindparam("this_tenant", type_=Text)
_IS_LIVE = api_keys.c.revoked_at.is_(None)

#: What the tasks of a tenant that was deleted may still cost, should it be made again before they end.
_STILL_HELD = select(func.coalesce(func.sum(tasks.c.price), 0)).where(
    tasks.c.tenant_id == _THIS_TENANT, is_in_state("queued", "running")
)

#: Write down a new tenant.
INSERT_TENANT = insert(tenants).values(
    created_at=database_now(), held=_STILL_HELD.scalar_subquery(), spent=0, paced_until_s=0.0
)

#: Read every tenant.
READ_TENANTS = select(tenants).order_by(tenants.c.id)

#: Read one tenant.
READ_TENANT = select(tenants).where(tenants.c.id == _THIS_ID)

#: Delete a tenant and its keys; its tasks end as they would.
DELETE_TENANT = delete(tenants).where(tenants.c.id == _THIS_ID)

#: Find whose key has a digest.
FIND_TENANT = select(api_keys.c.tenant_id).where(api_keys.c.digest == bindparam("this_digest", type_=Text), _IS_LIVE)

#: Write down a new key.
INSERT_KEY = insert(api_keys).values(created_at=database_now())

#: Read the keys of a tenant, the oldest first.
READ_KEYS = select(api_keys).where(api_keys.c.tenant_id == _THIS_TENANT).order_by(api_keys.c.created_at, api_keys.c.id)

#: Count the keys of a tenant that are good.
COUNT_LIVE_KEYS = select(func.count()).where(api_keys.c.tenant_id == _THIS_TENANT, _IS_LIVE)

#: Take the tenant's row, so that nobody else adds a key to it meanwhile.
LOCK_TENANT = select(tenants.c.id).where(tenants.c.id == _THIS_TENANT).with_for_update()

#: Take a key away.
REVOKE_KEY = update(api_keys).where(api_keys.c.id == _THIS_ID, _IS_LIVE).values(revoked_at=database_now())


class NoSuchTenant(UxoError):
    """There is no tenant of that name."""


class TenantExists(UxoError):
    """There is a tenant of that name already."""


class TenantInvalid(UxoError):
    """A tenant cannot be like that."""


class NoSuchKey(UxoError):
    """There is no key of that id, or it was revoked before."""


class TooManyKeys(UxoError):
    """The tenant has two good keys already; revoke one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What is known of a key that was handed out."""

    #: The part of the key by which people speak of it; no secret.
    id: str
    #: Whose it is.
    tenant_id: str
    #: When it was made.
    created_at: datetime
    #: When it was taken away, if it was.
    revoked_at: datetime | None


class TenantDirectory:
    """Tenants and keys in a database; every method raises Unavailable while that cannot be reached."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, tenant: Tenant) -> None:
        """Write down a new tenant.

        Raises:
            TenantInvalid: when its name or a limit cannot be.
            TenantExists: when the name is taken.
        """
        _check(tenant)
        columns = _limit_columns(tenant) | {"id": tenant.id, "this_tenant": tenant.id}
        try:
            await self._database.write(lambda connection: connection.execute(INSERT_TENANT, columns))
        except IntegrityError as error:
            raise TenantExists(f"there is a tenant {tenant.id} already") from error

    async def ensure(self, tenant_id: str) -> None:
        """Make sure that a tenant is there, with the limits that it has or else the usual ones."""
        if await self.find(tenant_id) is None:
            with suppress(TenantExists):  # another process was first
                await self.create(Tenant(id=tenant_id))

    async def ensure_all(self, tenant_ids: Iterable[str], *, again_s: float = 1.0) -> None:
        """Make sure that tenants are there, and wait for a database that is away: Serve gives a third try up for good.

        Args:
            tenant_ids: of the tenants.
            again_s: seconds from one try to the next.
        """
        asking = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable), wait=wait_fixed(again_s), before_sleep=_log_away
        )
        for tenant_id in tenant_ids:
            await asking(self.ensure, tenant_id)

    async def change(self, tenant: Tenant) -> None:
        """Give a tenant other limits; what it has spent stays.

        Raises:
            NoSuchTenant: when there is none of that name.
            TenantInvalid: when a limit cannot be.
        """
        _check(tenant)
        statement = update(tenants).where(tenants.c.id == tenant.id).values(_limit_columns(tenant))
        if not await self._database.write(lambda connection: connection.execute(statement).rowcount):
            raise NoSuchTenant(f"there is no tenant {tenant.id}")

    async def delete(self, tenant_id: str) -> None:
        """Delete a tenant and its keys; its tasks are kept as long as any.

        Raises:
            NoSuchTenant: when there is none of that name.
        """
        values = {"this_id": tenant_id}
        if not await self._database.write(lambda connection: connection.execute(DELETE_TENANT, values).rowcount):
            raise NoSuchTenant(f"there is no tenant {tenant_id}")

    async def all(self) -> list[Tenant]:
        """Read every tenant, by name."""
        return [tenant_of(row) for row in await self._database.rows(READ_TENANTS)]

    async def find(self, tenant_id: str) -> Tenant | None:
        """Read one tenant."""
        rows = await self._database.rows(READ_TENANT, {"this_id": tenant_id})
        return tenant_of(rows[0]) if rows else None

    async def openings_of(self, tenant_id: str) -> list[Opening]:
        """Read what was opened for a tenant; nothing for one that is not there."""
        tenant = await self.find(tenant_id)
        return [] if tenant is None else _openings_of(tenant)

    async def tenant_with(self, digest: str) -> str | None:
        """Find whose good key has a digest."""
        rows = await self._database.rows(FIND_TENANT, {"this_digest": digest})
        return str(rows[0].tenant_id) if rows else None

    async def add_key(self, tenant_id: str, *, key_id: str, digest: str) -> None:
        """Write down a new key.

        Raises:
            NoSuchTenant: when there is none of that name.
            TooManyKeys: when it has two good keys.
        """
        row = {"id": key_id, "tenant_id": tenant_id, "digest": digest}
        await self._database.write(lambda connection: _add_key(connection, row))

    async def keys_of(self, tenant_id: str) -> list[KeyRecord]:
        """Read a tenant's keys, revoked ones too, the oldest first."""
        rows: Sequence[Row[Any]] = await self._database.rows(READ_KEYS, {"this_tenant": tenant_id})
        return [_key_of(row) for row in rows]

    async def revoke_key(self, key_id: str) -> None:
        """Take a key away.

        Raises:
            NoSuchKey: when there is no good key of that id.
        """
        values = {"this_id": key_id}
        if not await self._database.write(lambda connection: connection.execute(REVOKE_KEY, values).rowcount):
            raise NoSuchKey


def tenant_of(row: Row[Any]) -> Tenant:
    """Read a tenant from its row."""
    return Tenant(
        id=row.id,
        weight=row.weight,
        models=None if row.models is None else frozenset(json.loads(row.models)),
        max_queued=row.max_queued,
        max_queued_units=row.max_queued_units,
        max_running=row.max_running,
        requests_per_minute=row.requests_per_minute,
        budget=row.budget,
        openings=None if row.openings is None else frozenset(json.loads(row.openings)),
        lifetime_s=row.lifetime_s,
        max_kept=row.max_kept,
        held=row.held,
        spent=row.spent,
        paced_until_s=row.paced_until_s,
    )


def _limit_columns(tenant: Tenant) -> dict[str, Any]:
    return {
        "weight": tenant.weight,
        "models": None if tenant.models is None else json.dumps(sorted(tenant.models)),
        "max_queued": tenant.max_queued,
        "max_queued_units": tenant.max_queued_units,
        "max_running": tenant.max_running,
        "requests_per_minute": tenant.requests_per_minute,
        "budget": tenant.budget,
        "openings": None if tenant.openings is None else json.dumps(sorted(tenant.openings)),
        "lifetime_s": tenant.lifetime_s,
        "max_kept": tenant.max_kept,
    }


def _check(tenant: Tenant) -> None:
    if not TENANT_ID.fullmatch(tenant.id):
        raise TenantInvalid("a tenant's name is 1 to 64 letters, digits, '.', '_' or '-'")
    _check_range("weight", tenant.weight, 0.001, 1000)
    _check_range("max-queued", tenant.max_queued, 0, MAX_COUNT)
    _check_range("max-queued-units", tenant.max_queued_units, 0, MAX_COUNT)
    # None running or no request a minute would let tasks in that never start; to stop a tenant, let none wait.
    _check_range("max-running", tenant.max_running, 1, MAX_COUNT)
    _check_range("requests-per-minute", tenant.requests_per_minute, 1, MAX_COUNT)
    _check_range("budget", tenant.budget, 0, MAX_BUDGET)
    # A picture that is gone before its caller can ask for it was drawn for nobody.
    _check_range("lifetime", tenant.lifetime_s, 60, MAX_COUNT)
    _check_range("max-kept", tenant.max_kept, 0, MAX_BUDGET)
    _check_openings(tenant)


def _check_openings(tenant: Tenant) -> None:
    if len(tenant.openings or ()) > MAX_OPENINGS:
        raise TenantInvalid(f"at most {MAX_OPENINGS} names and ranges can be opened for a tenant")
    try:
        _openings_of(tenant)
    except OpeningInvalid as error:
        raise TenantInvalid(str(error)) from error


def _openings_of(tenant: Tenant) -> list[Opening]:
    return [read_opening(text) for text in sorted(tenant.openings or ())]


def _check_range(name: str, limit: float | None, low: float, high: float) -> None:
    if limit is not None and not low <= limit <= high:
        raise TenantInvalid(f"{name} must be between {low} and {high}")


def _add_key(connection: Connection, row: Mapping[str, Any]) -> None:
    values = {"this_tenant": row["tenant_id"]}
    if connection.execute(LOCK_TENANT, values).one_or_none() is None:
        raise NoSuchTenant(f"there is no tenant {row['tenant_id']}")
    if connection.execute(COUNT_LIVE_KEYS, values).scalar_one() >= MAX_LIVE_KEYS:
        raise TooManyKeys
    connection.execute(INSERT_KEY, row)


def _key_of(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        tenant_id=row.tenant_id,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        revoked_at=None if row.revoked_at is None else datetime.fromtimestamp(row.revoked_at, UTC),
    )


def _log_away(state: RetryCallState) -> None:
    log.warning("tenants_not_reached", tries=state.attempt_number)
