"""A receiver that works beside the tests, for what the service sends while a test waits for something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from anyio.from_thread import BlockingPortal, start_blocking_portal
from receiver import Arrival, Receiver, receiving


class Letterbox:
    """A web server that takes whatever is sent to it, answers 200 unless told otherwise, and remembers every byte.

    Args:
        portal: the thread in which the receiver lives.
        receiver: what listens.
    """

    def __init__(self, portal: BlockingPortal, receiver: Receiver) -> None:
        self._portal = portal
        self._receiver = receiver

    @property
    def base_url(self) -> str:
        """Return its address without a trailing slash."""
        return self._receiver.url("")

    def says(self, target: str, *answers: bytes) -> None:
        """Answer a path's calls with these bytes, one after another, and the last for ever; see ``receiver.status``."""
        self._receiver.says(target, *answers)

    def until(self, count: int, target: str) -> list[Arrival]:
        """Wait until so many calls have arrived at a path, query and all, and return them."""
        return self._portal.call(self._receiver.until, count, target)


@contextmanager
def open_letterbox() -> Iterator[Letterbox]:
    """Run a letterbox for the length of a block."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(receiving()) as receiver:
        yield Letterbox(portal, receiver)
