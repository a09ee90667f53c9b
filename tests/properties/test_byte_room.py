"""What holds of room for bytes, whoever comes and goes in whatever order."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from deployments.byte_room import ByteRoom

#: Of the room that is tried: bytes in all and of one tenant.
TOTAL, SHARE = 10, 6
#: Comers by tenant and bytes, between those who leave, by how many are inside before them.
MOVES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["alice", "bob", "carol"]), st.integers(1, 8)),
        st.integers(0, 5),
    ),
    max_size=40,
)


@dataclass(slots=True, eq=False)
class Crowd:
    """Whoever came to one room, in that order."""

    room: ByteRoom = field(default_factory=lambda: ByteRoom(total=TOTAL, per_tenant=SHARE, uncounted=0, patience_s=60))
    comers: list[Comer] = field(default_factory=list)

    async def come(self, tenant_id: str, size_bytes: int) -> None:
        """Let one ask for room, and see who is inside then."""
        held = self.room.of(size_bytes, tenant_id=tenant_id)
        entering = asyncio.create_task(held.__aenter__())
        self.comers.append(Comer(tenant_id=tenant_id, size_bytes=min(size_bytes, SHARE), held=held, entering=entering))
        await self.settle()

    async def leave(self, index: int) -> None:
        """Let one of those inside go, and see who is inside then."""
        inside = self.inside()
        if inside:
            leaving = inside[index % len(inside)]
            self.comers.remove(leaving)
            await leaving.held.__aexit__(None, None, None)
            await self.settle()

    async def settle(self) -> None:
        """Let all have their turns that can."""
        for _ in range(3):
            await asyncio.sleep(0)

    def inside(self) -> list[Comer]:
        """Return who has room."""
        return [one for one in self.comers if one.entering.done()]

    def taken(self, tenant_id: str | None = None) -> int:
        """Return the bytes that all, or those of one tenant, have."""
        return sum(one.size_bytes for one in self.inside() if tenant_id in (None, one.tenant_id))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comer:
    """One who asked for room."""

    tenant_id: str
    size_bytes: int
    held: AbstractAsyncContextManager[None]
    entering: asyncio.Task[None]


@given(moves=MOVES)
def test_nobody_is_overtaken_for_room_that_all_share(moves: list[tuple[str, int] | int]) -> None:
    """The bounds hold, and the first to wait whose own tenant has a share left waits only while it would not fit.

    Whoever comes after it is not let in before it.
    """

    async def check() -> None:
        crowd = Crowd()
        for move in moves:
            before = first_held_up(crowd)
            inside = set(crowd.inside())
            await (crowd.leave(move) if isinstance(move, int) else crowd.come(*move))

            entered = set(crowd.inside()) - inside
            assert crowd.taken() <= TOTAL
            assert all(crowd.taken(tenant_id) <= SHARE for tenant_id in ("alice", "bob", "carol"))
            late = crowd.comers[crowd.comers.index(before) :] if before else []
            assert before in entered or not entered & set(late)
            waiting = first_held_up(crowd)
            assert waiting is None or crowd.taken() + waiting.size_bytes > TOTAL
        for one in crowd.comers:
            one.entering.cancel()
        await asyncio.wait({one.entering for one in crowd.comers} or {asyncio.create_task(asyncio.sleep(0))})

    asyncio.run(check())


def first_held_up(crowd: Crowd) -> Comer | None:
    """Return who has waited longest of those that nobody of their own tenant holds up."""
    seen = set[str]()
    for one in crowd.comers:
        if one.entering.done():
            continue
        if one.tenant_id not in seen and crowd.taken(one.tenant_id) + one.size_bytes <= SHARE:
            return one
        seen.add(one.tenant_id)
    return None
