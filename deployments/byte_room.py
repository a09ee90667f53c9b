"""Bounds the bytes that a process has in memory at once, and each tenant's share of them; knows not what they are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deployments.errors import UxoError


class NoRoom(UxoError):
    """There was no room in time."""


class ByteRoom:
    """Room for so many bytes."""

    def __init__(self, *, total: int, per_tenant: int, uncounted: int, patience_s: float) -> None:
        """Begin empty.

        Args:
            total: bytes in all.
            per_tenant: bytes of one tenant; what alone has more counts as this much, so that it has a turn as well.
            uncounted: what has so many bytes or fewer takes no room, so that it never waits for what is large.
            patience_s: how long to wait for room, in seconds.
        """
        self._total = total
        self._per_tenant = per_tenant
        self._uncounted = uncounted
        self._patience_s = patience_s
        self._by_tenant: Counter[str] = Counter()
        self._freed = asyncio.Event()

    def __repr__(self) -> str:
        """Say how full it is."""
        return f"<ByteRoom [{self._by_tenant.total():,} of {self._total:,} bytes]>"

    @asynccontextmanager
    async def of(self, size_bytes: int, *, tenant_id: str) -> AsyncIterator[None]:
        """Hold room for the length of the block, waiting for it a while.

        Raises:
            NoRoom: when others had it for all that time.
        """
        held = 0 if size_bytes <= self._uncounted else min(size_bytes, self._per_tenant)
        try:
            async with asyncio.timeout(self._patience_s):
                while not self._has(held, tenant_id):
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError as error:
            raise NoRoom from error
        self._by_tenant[tenant_id] += held
        try:
            yield
        finally:
            self._by_tenant -= Counter({tenant_id: held})
            self._freed.set()

    def _has(self, size_bytes: int, tenant_id: str) -> bool:
        if not size_bytes:
            return True
        is_mine = self._by_tenant[tenant_id] + size_bytes <= self._per_tenant
        return is_mine and self._by_tenant.total() + size_bytes <= self._total
