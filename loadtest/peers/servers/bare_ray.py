"""Ray Serve by itself: ``@serve.batch`` gives a method the requests of up to ``max_batch_size`` calls.

Source: Ray documentation, "Dynamic Request Batching", seen 2026-11. A deployment lets in five calls at once by itself;
that page says to let in more than a batch.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from ray.serve import Application
from starlette.requests import Request

from loadtest.peers.servers.fake_model import MAX_GROUP, WAIT_S, Answer, Item, run_mixed

#: Calls that are let in at once; the others wait in the proxy.
MAX_ONGOING_CALLS = 1024


class FakeDeployment:
    """The fake model."""

    @serve.batch(max_batch_size=MAX_GROUP, batch_wait_timeout_s=WAIT_S)  # type: ignore[untyped-decorator]  # Ray has no types for it
    async def run(self, items: list[Item]) -> list[Answer]:
        """Run a batch, which the decorator takes from its queue whatever the shapes are."""
        return await asyncio.to_thread(run_mixed, items)

    async def __call__(self, request: Request) -> Any:
        """Answer one call."""
        return await self.run(await request.json())


def build(_args: dict[str, Any]) -> Application:
    """Compose the application."""
    options = {"ray_actor_options": {"num_cpus": 0}, "max_ongoing_requests": MAX_ONGOING_CALLS}
    return serve.deployment(FakeDeployment, name="fake", **options).bind()
