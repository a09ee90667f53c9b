"""The search for a server's capacity against servers that do nothing, or no more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from running_service import free_port

from loadtest.answers import answering, make_answers
from loadtest.exits import STOPPED, UNUSABLE
from loadtest.openloop.profile import Profile, Steady
from loadtest.openloop.run import UnusableTarget
from loadtest.openloop.search import Search
from loadtest.openloop.slo import parse_slo

ROOT = Path(__file__).parents[2]
#: Its first order is due at once, and the next when its seconds are over.
QUICK = Profile(seconds=0.2, arrivals=Steady(kind="steady", rate=5), poll_s=0.05)

#: What an application does with a call that it may refuse.
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def test_a_low_rate_is_looked_at_for_longer() -> None:
    """A rate at which a look would have had no order is carried by a server that carries everything."""
    told: list[str] = []

    with answering(free_port()) as target:
        is_carried = await (search := searching(target, told)).carries(4.0, 0)

    [look] = search.tries
    assert (is_carried, look["orders"]) == (True, 3)
    assert told[0].endswith("4.000 a second is offered for 1 s, until 3 orders came")


async def test_a_server_that_a_look_has_overloaded_is_waited_for() -> None:
    """A greeting that is answered with 503 after a load is said again, told in one line, until there is an answer."""
    told: list[str] = []
    refusals = iter([503, 429])

    async with serving(lambda _submitted: next(refusals, None)) as target:
        is_carried = await searching(target, told).carries(20.0, 0)

    assert is_carried
    assert [line.partition("result; ")[2] for line in told[:-1]] == [
        "it is overloaded or broken after a load; waited for, up to 90 s"
    ]


async def test_a_server_that_is_overloaded_before_any_look_is_not_waited_for() -> None:
    """Nobody waits for a server that was not seen to work."""
    told: list[str] = []

    async with serving(lambda _submitted: 503) as target:
        with pytest.raises(UnusableTarget, match="overloaded or broken before any load"):
            await searching(target, told).warm(20.0)

    assert told == []


@pytest.mark.parametrize(("status", "code"), [(401, UNUSABLE), (503, STOPPED)])
async def test_a_search_that_is_cut_short_says_what_it_knows(tmp_path: Path, status: int, code: int) -> None:
    """What was carried and missed is written when the target refuses its key, or Ctrl-C ends the wait for it."""
    (tmp_path / "quick.yaml").write_text(json.dumps(QUICK.model_dump(mode="json")), encoding="utf-8")

    # 4 orders are sent to warm it, 4 at 20 a second and 8 at 40; of those at 80, the first is refused.
    async with serving(lambda submitted: status if submitted > 16 else None, most=16) as target:
        lines, exited = await find_capacity(target, cwd=tmp_path)

    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert exited == code
    assert "until then carried 40.000 orders a second, missed at 80.000; not settled: the search was" in lines[-1]
    assert [found[name] for name in ("carried_per_s", "missed_per_s", "is_settled")] == [40, 80, False]
    assert [each["rate"] for each in found["tries"]] == [20, 40, 80]
    assert found["ended_by"]


def searching(target: str, told: list[str]) -> Search:
    """Make a search that allows no errors and notes what it tells."""
    return Search(profile=QUICK, goals=parse_slo("errors=0%"), target=target, keys=["k"], tell=told.append)


@asynccontextmanager
async def serving(refusal: Callable[[int], int | None], *, most: int = 1000) -> AsyncIterator[str]:
    """Serve what does nothing, but may refuse a greeting; ``refusal`` is told how many orders came.

    Args:
        refusal: returns the status with which a greeting is refused, or None.
        most: orders that are taken; those beyond are refused with 429.
    """
    submitted = 0

    @web.middleware
    async def refusing(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal submitted
        submitted += request.method == "POST"
        if request.method == "POST" and submitted > most:
            return web.json_response({"code": 429}, status=429)
        answer = await handler(request)
        # Nobody but who greets asks for a task that is not there.
        status = refusal(submitted) if answer.status == 404 else None
        return web.json_response({"code": status}, status=status) if status else answer

    app = make_answers(1)
    app.middlewares.append(refusing)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def find_capacity(target: str, *, cwd: Path) -> tuple[list[str], int]:
    """Run the command, press Ctrl-C when it waits for the target, and return what it said and its exit code."""
    words = ["find-capacity", "quick.yaml", "--key", "k", "--slo", "errors=0%", "--target", target, "--start", "20"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest", *words, "--output", "found.json"),
        stdout=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # noqa: TID251 -- handed to a child, not read
    )
    lines: list[str] = []
    assert process.stdout
    async with asyncio.timeout(60):
        async for line in process.stdout:
            lines.append(line.decode())
            if "; waited for, " in lines[-1]:
                process.send_signal(signal.SIGINT)
        return lines, await process.wait()
