"""Room for bytes: who has a turn, who waits, and who is told that there was none."""

from __future__ import annotations

import asyncio

import pytest

from deployments.byte_room import ByteRoom, NoRoom


def room(*, patience_s: float = 0.01) -> ByteRoom:
    """Return room for 100 bytes, 60 of one tenant, where up to 5 are not counted."""
    return ByteRoom(total=100, per_tenant=60, uncounted=5, patience_s=patience_s)


async def test_what_fits_is_held_side_by_side() -> None:
    """Tenants share the room, and it is free afterwards."""
    bytes_of = room()

    async with bytes_of.of(60, tenant_id="alice"), bytes_of.of(40, tenant_id="bob"):
        assert repr(bytes_of) == "<ByteRoom [100 of 100 bytes]>"

    assert repr(bytes_of) == "<ByteRoom [0 of 100 bytes]>"


@pytest.mark.parametrize(("tenant_id", "size_bytes"), [("alice", 21), ("bob", 61), ("bob", 1000)])
async def test_what_does_not_fit_is_told_so(tenant_id: str, size_bytes: int) -> None:
    """Beyond a tenant's share, or beyond all there is, a wait ends without room."""
    bytes_of = room()

    async with bytes_of.of(40, tenant_id="alice"), bytes_of.of(20, tenant_id="carol"):
        with pytest.raises(NoRoom):
            await bytes_of.of(size_bytes, tenant_id=tenant_id).__aenter__()


async def test_what_is_small_never_waits() -> None:
    """It passes where nothing else does."""
    bytes_of = room()

    async with bytes_of.of(60, tenant_id="alice"), bytes_of.of(40, tenant_id="bob"), bytes_of.of(5, tenant_id="alice"):
        assert repr(bytes_of) == "<ByteRoom [100 of 100 bytes]>"


async def test_what_is_larger_than_a_share_has_its_turn() -> None:
    """Alone it is let in, for nothing would ever be room enough."""
    bytes_of = room()

    async with bytes_of.of(10_000, tenant_id="alice"):
        assert repr(bytes_of) == "<ByteRoom [60 of 100 bytes]>"


async def test_whoever_waits_has_it_when_it_is_free() -> None:
    """While one holds it nobody else is let in; afterwards all have their turns, in the order of coming."""
    bytes_of, entered = room(patience_s=20), list[str]()

    async def hold(tenant_id: str) -> None:
        async with bytes_of.of(50, tenant_id=tenant_id):
            entered.append(tenant_id)

    async with asyncio.TaskGroup() as group, bytes_of.of(60, tenant_id="alice"):
        for tenant_id in ("bob", "carol", "alice"):
            group.create_task(hold(tenant_id))
        await asyncio.sleep(0)
        too_early = list(entered)

    assert (too_early, entered) == ([], ["bob", "carol", "alice"])


async def test_one_whose_patience_ends_lets_others_in() -> None:
    """What waited behind it and fits has its turn at once."""
    bytes_of = room(patience_s=20)

    async with bytes_of.of(60, tenant_id="alice"):
        first = asyncio.create_task(bytes_of.of(50, tenant_id="bob").__aenter__())
        second = asyncio.create_task(bytes_of.of(10, tenant_id="carol").__aenter__())
        await asyncio.sleep(0)
        is_overtaken = second.done()
        first.cancel()
        await second

    assert not is_overtaken
    assert repr(bytes_of) == "<ByteRoom [10 of 100 bytes]>"


async def test_one_that_is_cancelled_as_its_turn_comes_holds_nothing() -> None:
    """Room that it was given in that very moment is given back."""
    bytes_of = room(patience_s=20)
    held = bytes_of.of(60, tenant_id="alice")
    await held.__aenter__()
    waiting = asyncio.create_task(bytes_of.of(60, tenant_id="alice").__aenter__())
    await asyncio.sleep(0)

    waiting.cancel()
    await held.__aexit__(None, None, None)
    await asyncio.wait({waiting})

    assert repr(bytes_of) == "<ByteRoom [0 of 100 bytes]>"


async def test_an_error_frees_the_room() -> None:
    """What ends badly holds nothing any more."""
    bytes_of = room()
    held = bytes_of.of(60, tenant_id="alice")
    await held.__aenter__()

    await held.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)

    assert repr(bytes_of) == "<ByteRoom [0 of 100 bytes]>"
