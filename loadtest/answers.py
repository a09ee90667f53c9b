"""A server that speaks just enough WaveSpeed and does nothing: what a load generator can offer is measured against it.

    answering ──► python -m loadtest.answers PORT READS       every task has succeeded when it is read so many times

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
# As many as any order asks for, so that no success has too few.
_ENDED = {"status": "completed", "outputs": [f"http://pictures.test/{number}.png" for number in range(1, 5)]}


def make_answers(reads: int) -> web.Application:
    """Build the web application; a task has succeeded when it is read for that many times."""
    left: dict[str, int] = {}
    numbers = itertools.count(1)

    async def submit(request: web.Request) -> web.Response:
        await request.read()
        task_id = f"{next(numbers):032x}"
        left[task_id] = reads
        return web.json_response({"code": 200, "data": {"id": task_id, "status": "created"}})

    async def result(request: web.Request) -> web.Response:
        task_id = request.match_info["id"]
        if task_id not in left:
            return web.json_response(_GONE, status=404)
        left[task_id] -= 1
        standing = _ENDED if left[task_id] <= 0 else {"status": "processing", "outputs": []}
        return web.json_response({"code": 200, "data": {"id": task_id, **standing}})

    app = web.Application()
    app.router.add_get("/api/v3/predictions/{id}/result", result)
    app.router.add_post("/api/v3/{model:.+}", submit)
    return app


@contextmanager
def answering(port: int, *, reads: int = 1) -> Iterator[str]:
    """Serve for the length of a block; yields the start of every address.

    Args:
        port: where.
        reads: by which read a task has succeeded.

    Raises:
        OSError: when the port is taken.
    """
    process = subprocess.Popen(  # noqa: S603 -- this interpreter and this file
        [sys.executable, "-m", "loadtest.answers", str(port), str(reads)],
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


async def _serve(port: int, reads: int) -> None:
    runner = web.AppRunner(make_answers(reads), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
