"""Whether callers who hang up behind HAProxy are noticed, with the program that clusters run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from running_service import free_port

#: What Ray configures, as far as it matters here.
CONFIG = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option abortonclose
    option splice-request
    option splice-response
listen all
    bind 127.0.0.1:{front}
    http-reuse always
    server one 127.0.0.1:{back}
"""
OURS = Path(sys.executable).with_name("uxo-haproxy")
#: Without ours about every second caller is overlooked, until much later something else happens to the connection.
CALLERS = 8
#: Seconds in which a call has to arrive, and a caller who hung up to be noticed; usually neither takes any.
PATIENCE_S = 20.0


class Waiting:
    """An application that never answers, and tells when it is asked and when it has lost a caller."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.lost = asyncio.Semaphore(0)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, _send: Any) -> None:
        """Wait until the caller is gone."""
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            self.asked.release()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.lost.release()


@asynccontextmanager
async def serving(waiting: Waiting, port: int) -> AsyncIterator[None]:
    """Serve an application for the length of a ``with`` block."""
    server = uvicorn.Server(uvicorn.Config(waiting, port=port, lifespan="off", log_level="error"))
    running = asyncio.create_task(server.serve())
    yield
    server.should_exit = server.force_exit = True
    await running


@asynccontextmanager
async def proxied(folder: Path, *, front: int, back: int) -> AsyncIterator[None]:
    """Run the program that clusters run for the length of a ``with`` block."""
    config = folder / "haproxy.cfg"
    config.write_text(CONFIG.format(front=front, back=back))
    process = await asyncio.create_subprocess_exec(OURS, "-db", "-f", config)
    try:
        async with asyncio.timeout(30):
            while not await _answers(front):  # noqa: ASYNC110 -- HAProxy sets no event
                await asyncio.sleep(0.05)
        yield
    finally:
        process.kill()
        await process.wait()


async def _answers(port: int) -> bool:
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


async def hang_up(port: int, *, once: Awaitable[object]) -> None:
    """Ask, and leave once something has come about."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        asking = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/", json={"a": "b" * 3000}))
        await asyncio.wait_for(once, PATIENCE_S)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@pytest.mark.skipif(not OURS.is_file(), reason="the project is not installed, so there is no uxo-haproxy")
async def test_every_caller_who_hangs_up_is_noticed(tmp_path: Path) -> None:
    """One after the other they ask and leave, and the application hears of each."""
    waiting, front, back = Waiting(), free_port(), free_port()
    async with serving(waiting, back), proxied(tmp_path, front=front, back=back):
        for _ in range(CALLERS):
            await hang_up(front, once=waiting.asked.acquire())

            await asyncio.wait_for(waiting.lost.acquire(), PATIENCE_S)
