"""Lets only so many do something costly at once, and only so many of them for one tenant. Does not know what it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """Turns of one event loop; whoever has none yet waits, in the order in which they came."""

    def __init__(self, *, at_once: int, per_tenant: int) -> None:
        """Take how many have a turn at once, and how many of them may be one tenant's."""
        self._everybodys = asyncio.Semaphore(at_once)
        self._per_tenant = per_tenant
        # Only those who wait or have a turn hold their tenant's semaphore, so it goes with the last of them.
        self._tenants: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, tenant_id: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends."""
        tenants = self._tenants.setdefault(tenant_id, asyncio.Semaphore(self._per_tenant))
        # The tenant's own comes first: who waits for it must not take one of everybody's.
        async with tenants, self._everybodys:
            yield
