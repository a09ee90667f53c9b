"""Cog: one prediction at a time, or several at once of an asynchronous ``run``; it has no batching.

Calls beyond the slots are answered 409 at once, so there are slots enough for a queue; the fake model lets one
prediction through at a time, as a device would.
Source: Cog documentation, "HTTP API" and the ``concurrent`` decorator of its Python package, seen 2026-11.
"""

import asyncio

import cog

from loadtest.peers.servers.fake_model import run_alike

#: Predictions that are let in at once, as in Cog's own example; ``cog build`` writes the number into the image's
#: environment as well, as ``COG_MAX_CONCURRENCY``.
SLOTS = 32


class FakeRunner(cog.BaseRunner):  # type: ignore[misc]  # the package lies in an environment of its own
    """The fake model."""

    @cog.concurrent(max=SLOTS)  # type: ignore[untyped-decorator]  # as above
    async def run(self, number: int, shape: str, is_poisoned: bool) -> int:  # noqa: ARG002, FBT001 -- names are its API's
        """Run one item."""
        await asyncio.to_thread(run_alike, 1, is_poisoned=is_poisoned)
        return number
