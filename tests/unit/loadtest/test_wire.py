"""What a call of a load says that was not answered: whose fault it is, too."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtest.file_limit import raise_file_limit
from loadtest.openloop.speech import Ask
from loadtest.openloop.wire import NoAnswer, connected

CALL = Ask(method="GET", path="/")


@contextmanager
def files_limited(soft: int) -> Iterator[int]:
    """Lower the soft limit of open files for the length of a block; yields the hard one."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def test_the_limit_is_as_high_as_it_may_be() -> None:
    """A process that was started with a usual limit may open as many files as the system lets it."""
    with files_limited(512) as hard:
        raise_file_limit()

        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


async def test_a_load_without_sockets_blames_itself() -> None:
    """Whoever has no sockets left has not found a server that is down."""
    async with connected("http://127.0.0.1:9") as wire:
        with pytest.raises(NoAnswer, match=r"^no connection$"):
            await wire.send(CALL, authorization="")
        with files_limited(0), pytest.raises(NoAnswer, match=r"the load generator's own: no socket left \(EMFILE\)"):
            await wire.send(CALL, authorization="")
