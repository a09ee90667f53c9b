"""The room for kept pictures, on every database: racing callers get no more of it than there is."""

from __future__ import annotations

import asyncio

import pytest

from deployments.database.database import Database
from deployments.delivery.kept_space import KeptSpace, Place
from deployments.errors import QuotaExceeded
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant

#: The moment of every call, and when all that is kept then ends, in seconds since 1970.
NOW_S, END_S = 1000.0, 2000.0


@pytest.fixture
async def space(database: Database, directory: TenantDirectory) -> KeptSpace:
    """Return the room of Alice, who may keep 100 bytes."""
    await directory.change(Tenant(id="alice", max_kept=100))
    return KeptSpace(database)


def place(value: str, size_bytes: int, *, taken_at: float | None = NOW_S, expires_at: float = END_S) -> Place:
    """Return the room of one of Alice's pictures."""
    return Place(value=value, tenant_id="alice", size_bytes=size_bytes, expires_at=expires_at, taken_at=taken_at)


async def test_racing_pictures_get_no_more_than_there_is(space: KeptSpace) -> None:
    """Of ten that race for room for three, three get it."""
    reserving = [space.reserve(place(f"v{number}", 30), now_s=NOW_S) for number in range(10)]

    came = await asyncio.gather(*reserving, return_exceptions=True)

    assert [type(one) for one in came if one is not None] == [QuotaExceeded] * 7


async def test_a_grant_is_taken_up_once(space: KeptSpace) -> None:
    """Of ten that race for it one gets it, and its row holds what that one brought."""
    await space.reserve(place("granted", 60, taken_at=None), now_s=NOW_S)
    taking = [space.take("granted", size_bytes=20, expires_at=END_S, now_s=NOW_S) for _ in range(10)]

    came = await asyncio.gather(*taking)
    await space.reserve(place("more", 80), now_s=NOW_S)

    assert sorted(came) == [False] * 9 + [True]


async def test_a_refusal_says_when_there_is_room(space: KeptSpace) -> None:
    """It names the moment at which enough has ended, not the first that anything has."""
    for number in range(4):
        await space.reserve(place(f"v{number}", 25, expires_at=NOW_S + 10 * (number + 1)), now_s=NOW_S)

    with pytest.raises(QuotaExceeded) as refusal:
        await space.reserve(place("more", 60), now_s=NOW_S)

    assert refusal.value.retry_after_s == 30
    await space.reserve(place("more", 60), now_s=NOW_S + 30)


async def test_a_reopened_grant_can_be_taken_up(space: KeptSpace) -> None:
    """It holds until its own end again, and for as much as was brought before."""
    await space.reserve(place("granted", 60, taken_at=None), now_s=NOW_S)
    await space.take("granted", size_bytes=20, expires_at=END_S, now_s=NOW_S)

    await space.reopen("granted", until_s=NOW_S + 5)

    assert await space.take("granted", size_bytes=20, expires_at=END_S, now_s=NOW_S + 5) is False
    assert await space.take("granted", size_bytes=20, expires_at=END_S, now_s=NOW_S + 4)


async def test_room_is_given_back_and_forgotten(space: KeptSpace) -> None:
    """What was deleted makes room at once; what has ended is deleted by the housekeeping and counts no more."""
    await space.reserve(place("deleted", 50), now_s=NOW_S)
    await space.reserve(place("ended", 50, expires_at=NOW_S + 1), now_s=NOW_S)

    await space.give_back(["deleted"])
    await space.give_back([])

    assert await space.forget(now_s=NOW_S + 1) == 1
    await space.reserve(place("all", 100), now_s=NOW_S)
