"""Bounds the bytes that a process has in memory at once, and each tenant's share of them; knows not what they are.

Who waits is let in in the order of coming, so that what is large is not overtaken for ever by what is small. Whoever
waits for their own tenant's share holds up their own tenant alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deployments.errors import UxoError


class NoRoom(UxoError):
    """There was no room in time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    """Somebody who asks for room."""

    tenant_id: str
    #: What it will take; no more than a tenant's share.
    size_bytes: int
    #: Done once it holds its room.
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


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
        #: In the order in which they came.
        self._waiting: dict[_Waiting, None] = {}

    def __repr__(self) -> str:
        """Say how full it is."""
        return f"<ByteRoom [{self._by_tenant.total():,} of {self._total:,} bytes]>"

    @asynccontextmanager
    async def of(self, size_bytes: int, *, tenant_id: str) -> AsyncIterator[None]:
        """Hold room for the length of the block, waiting for it a while.

        Raises:
            NoRoom: when others had it for all that time.
        """
        if size_bytes <= self._uncounted:
            yield
            return
        mine = _Waiting(tenant_id=tenant_id, size_bytes=min(size_bytes, self._per_tenant, self._total))
        try:
            await self._take(mine)
            yield
        finally:
            self._leave(mine)

    async def _take(self, mine: _Waiting) -> None:
        self._waiting[mine] = None
        self._let_in()
        try:
            async with asyncio.timeout(self._patience_s):
                await mine.turn
        except TimeoutError as error:
            raise NoRoom from error

    def _leave(self, mine: _Waiting) -> None:
        """Give back what is held, or wait no longer; one whose patience ends as its turn comes holds room by then."""
        if mine in self._waiting:
            del self._waiting[mine]
        else:
            self._by_tenant -= Counter({mine.tenant_id: mine.size_bytes})
        self._let_in()

    def _let_in(self) -> None:
        """Give their room to all who fit now, in the order of coming."""
        held_up = set[str]()
        for each in list(self._waiting):
            if each.tenant_id in held_up or self._is_beyond_share(each):
                held_up.add(each.tenant_id)
            elif self._by_tenant.total() + each.size_bytes > self._total:
                return
            else:
                self._admit(each)

    def _is_beyond_share(self, asking: _Waiting) -> bool:
        return self._by_tenant[asking.tenant_id] + asking.size_bytes > self._per_tenant

    def _admit(self, asking: _Waiting) -> None:
        del self._waiting[asking]
        self._by_tenant[asking.tenant_id] += asking.size_bytes
        if not asking.turn.cancelled():  # it is about to leave, and gives its room back then
            asking.turn.set_result(None)
