"""Bodies within bounds: of one, of all together, and of time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from deployments.bodies import FLOOR_BYTES_PER_S, LARGE_BODY_BYTES, Bodies
from deployments.errors import BodyTooLarge, BodyTooSlow, Overloaded


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    """Bring a body in pieces."""
    for size in sizes:
        yield b"x" * size


async def endless() -> AsyncIterator[bytes]:
    """Bring one piece and then nothing for ever."""
    yield b"x"
    await asyncio.Event().wait()


async def receive(bodies: Bodies, *sizes: int, announced: str = "") -> int:
    """Receive a body and let it go; return its length."""
    async with bodies.receive(pieces(*sizes), announced=announced) as body:
        return len(body)


async def test_a_body_arrives_whole() -> None:
    """The pieces come out as one."""
    assert await receive(Bodies(max_bytes=10), 3, 0, 7) == 10


@pytest.mark.parametrize(("sizes", "announced"), [((3, 8), ""), ((), "11"), ((), "9" * 30)])
async def test_a_body_over_its_limit(sizes: tuple[int, ...], announced: str) -> None:
    """What passes the limit, or says that it will, is refused."""
    with pytest.raises(BodyTooLarge):
        await receive(Bodies(max_bytes=10), *sizes, announced=announced)


async def test_bodies_in_flight_have_a_limit_together() -> None:
    """A body that would pass the limit of all is refused, and fits once another is let go."""
    bodies = Bodies(max_bytes=10, max_in_flight_bytes=15)
    async with bodies.receive(pieces(10), announced="10"):
        with pytest.raises(Overloaded):
            await receive(bodies, 6)
        assert await receive(bodies, 5) == 5

    assert await receive(bodies, 6) == 6
    assert repr(bodies) == "<Bodies [0 of 15 bytes in flight]>"


async def test_a_body_that_does_not_come() -> None:
    """A sender that stops is given up, and what it sent no longer counts."""
    bodies = Bodies(patience_s=0.01)

    with pytest.raises(BodyTooSlow):
        async with bodies.receive(endless(), announced=""):
            pass

    assert repr(bodies).startswith("<Bodies [0 of")


async def dripping() -> AsyncIterator[bytes]:
    """Bring a thousand bytes a second."""
    while True:
        yield b"x"
        await asyncio.sleep(0.001)


async def test_a_body_that_drips() -> None:
    """Single bytes, however many come, do not keep a body from being given up."""
    bodies = Bodies(grace_s=0.01)

    with pytest.raises(BodyTooSlow):
        async with bodies.receive(dripping(), announced=""):
            pass


async def test_a_body_that_flows_has_its_time() -> None:
    """What brings enough is not given up when its grace is over."""
    bodies = Bodies(grace_s=0.01)
    is_late = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, is_late.set)

    async def flowing() -> AsyncIterator[bytes]:
        yield bytes(FLOOR_BYTES_PER_S)
        await is_late.wait()
        yield b"x"

    async with bodies.receive(flowing(), announced="") as body:
        assert len(body) == FLOOR_BYTES_PER_S + 1


async def test_what_times_out_while_a_body_is_answered_is_not_its_sender() -> None:
    """A time-out inside the block keeps its own meaning."""
    with pytest.raises(TimeoutError):
        async with Bodies().receive(pieces(1), announced=""):
            raise TimeoutError


@pytest.mark.parametrize(("size", "is_elsewhere"), [(LARGE_BODY_BYTES, False), (LARGE_BODY_BYTES + 1, True)])
async def test_only_large_bodies_are_read_elsewhere(size: int, *, is_elsewhere: bool) -> None:
    """A small body is read at once, a large one on another thread."""
    thread = await Bodies().read(threading.current_thread, size_bytes=size)

    assert (thread is not threading.current_thread()) is is_elsewhere


async def test_large_bodies_are_read_one_at_a_time() -> None:
    """However many large bodies wait, one is read."""
    bodies, inside, most = Bodies(), 0, 0

    def read() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        inside -= 1

    await asyncio.gather(*(bodies.read(read, size_bytes=LARGE_BODY_BYTES * 2) for _ in range(50)))

    assert most == 1
