"""A server that speaks just enough WaveSpeed and does nothing: what a load generator can offer is measured against it.

    answering ──► python -m loadtest.answers PORT       every task has succeeded by its first read

It serves in a process of its own until its standard input ends, so it ends with its parent whatever becomes of that.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

#: What the child says once it serves.
READY = "ready"

_GONE = {"code": 404, "message": "no such task"}


def make_answers() -> web.Application:
    """Build the web application."""
    known: set[str] = set()
    numbers = itertools.count(1)

    async def submit(request: web.Request) -> web.Response:
        await request.read()
        task_id = f"{next(numbers):032x}"
        known.add(task_id)
        return web.json_response({"code": 200, "data": {"id": task_id, "status": "created"}})

    async def result(request: web.Request) -> web.Response:
        task_id = request.match_info["id"]
        if task_id not in known:
            return web.json_response(_GONE, status=404)
        return web.json_response({"code": 200, "data": {"id": task_id, "status": "completed", "outputs": ["x"]}})

    app = web.Application()
    app.router.add_get("/api/v3/predictions/{id}/result", result)
    app.router.add_post("/api/v3/{model:.+}", submit)
    return app


@contextmanager
def answering(port: int) -> Iterator[str]:
    """Serve for the length of a block; yields the start of every address.

    Raises:
        OSError: when the port is taken.
    """
    process = subprocess.Popen(  # noqa: S603 -- this interpreter and this file
        [sys.executable, "-m", "loadtest.answers", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is the parent's; the child hears of it by its standard input
    )
    try:
        if not any(line.strip() == READY.encode() for line in process.stdout or ()):
            raise OSError(f"nothing can be served at port {port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.communicate()  # ends its standard input


async def _serve(port: int) -> None:
    runner = web.AppRunner(make_answers(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
