"""Turns: how many there are, whose, and that nothing is left of a tenant who has gone."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deployments.operations.turns import Turns

#: Longer than any test may take.
PATIENCE_S = 20.0


class Crowd:
    """Callers who take turns and keep them until they are let go."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._go = asyncio.Event()
        self._callers: list[asyncio.Task[None]] = []
        #: Whose turn it was, in order.
        self.served: list[str] = []

    async def come(self, *tenants: str) -> None:
        """Let a caller of each tenant ask for a turn, and wait until each has it or waits for it."""
        self._callers += [asyncio.create_task(self._take(tenant)) for tenant in tenants]
        for _ in range(20):  # each caller needs a few turns of the loop to get as far as it can
            await asyncio.sleep(0)

    async def let_go(self) -> None:
        """Let everybody have a turn, and end it."""
        self._go.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._callers)

    async def hang_up(self, index: int) -> None:
        """Cancel one of the callers."""
        self._callers[index].cancel()
        await asyncio.wait({self._callers.pop(index)})

    async def _take(self, tenant: str) -> None:
        async with self._turns.turn(tenant):
            self.served.append(tenant)
            await self._go.wait()


@asynccontextmanager
async def crowd(turns: Turns) -> AsyncIterator[Crowd]:
    """Yield a crowd that goes in the end."""
    made = Crowd(turns)
    yield made
    await made.let_go()


@pytest.fixture
def turns() -> Turns:
    """Return four turns, two of them for one tenant at most."""
    return Turns(at_once=4, per_tenant=2)


async def test_a_tenant_has_its_share_and_leaves_the_others_theirs(turns: Turns) -> None:
    """Of a hundred of Alice's two have a turn, and Bob's, who came after all of them, have theirs."""
    async with crowd(turns) as callers:
        await callers.come(*["alice"] * 100)
        await callers.come("bob", "bob", "bob")

        assert callers.served == ["alice", "alice", "bob", "bob"]
    assert len(callers.served) == 103


async def test_so_many_have_a_turn_at_once(turns: Turns) -> None:
    """Of five tenants the fifth waits, and has its turn once another ends."""
    async with crowd(turns) as callers:
        await callers.come("a", "b", "c", "d", "e")

        assert callers.served == ["a", "b", "c", "d"]
    assert callers.served[-1] == "e"


async def test_who_hangs_up_gives_the_turn_back(turns: Turns) -> None:
    """A turn ends with its caller, whether they had it or waited for it."""
    async with crowd(turns) as callers:
        await callers.come("alice", "alice", "alice", "alice")

        await callers.hang_up(2)
        await callers.hang_up(0)
        await callers.come()

        assert callers.served == ["alice", "alice", "alice"]


async def test_nothing_is_left_of_tenants_who_are_gone(turns: Turns) -> None:
    """A thousand tenants leave nothing behind."""
    async with crowd(turns) as callers:
        await callers.come(*(f"tenant {number}" for number in range(1000)))

    del callers
    gc.collect()
    assert not turns._tenants
