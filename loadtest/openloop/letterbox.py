"""Where a load receives webhooks: a small HTTP server that notes every end it is told of."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from loadtest.openloop.speech import ENDED, Seen, Speech, mapping


class Letterbox:
    """Every end that was told of, by dialect and task."""

    def __init__(self, url: str, speeches: Mapping[str, Speech]) -> None:
        self._url = url.rstrip("/")
        self._speeches = speeches
        self._told: dict[tuple[str, str], dict[str, Seen]] = defaultdict(dict)
        self._arrived: dict[tuple[str, str], asyncio.Event] = defaultdict(asyncio.Event)

    def address(self, dialect: str) -> str:
        """Return where webhooks of a dialect are to go."""
        return f"{self._url}/{dialect}"

    async def first(self, dialect: str, task_id: str) -> Seen:
        """Wait for the first webhook of a task; it may have come before its acceptance was known."""
        await self._arrived[dialect, task_id].wait()
        return next(iter(self._told[dialect, task_id].values()))

    def ends_told(self) -> dict[str, set[str]]:
        """Return which different ends each task was said to have."""
        return {task_id: {str(seen.state) for seen in told.values()} for (_, task_id), told in self._told.items()}

    async def receive(self, call: web.Request) -> web.Response:
        """Note a webhook; one that comes again under its id is the same event."""
        dialect = call.match_info["dialect"]
        speech = self._speeches.get(dialect)
        try:
            told = speech.told(mapping(json.loads(await call.read()))) if speech else None
        except ValueError:
            told = None
        if told is None:
            return web.Response(status=400)
        task_id, seen = told
        if seen.state in ENDED:
            event = call.headers.get("webhook-id") or str(len(self._told[dialect, task_id]))
            self._told[dialect, task_id][event] = seen
            self._arrived[dialect, task_id].set()
        return web.Response()


@asynccontextmanager
async def receiving(letterbox: Letterbox, *, host: str, port: int) -> AsyncIterator[None]:
    """Receive webhooks for the length of the block."""
    application = web.Application(client_max_size=64 * 2**20)
    application.router.add_post("/{dialect}", letterbox.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
