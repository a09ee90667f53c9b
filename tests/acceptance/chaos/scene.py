"""One run from its first call to its evidence: ask, disturb, calm down, wait for all ends, read the books.

Knows when things happen; what stands where is told in stage.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from acceptance.chaos.books import Books, count_alive, count_untold, read_record
from acceptance.chaos.client import Client
from acceptance.chaos.dice import dice
from acceptance.chaos.evidence import Evidence, Footprint
from acceptance.chaos.fleet import Fleet
from acceptance.chaos.journal import read_journals
from acceptance.chaos.letterbox import Welcome
from acceptance.chaos.plan import Plan
from acceptance.chaos.reckoning import grown
from acceptance.chaos.sampler import AWAY
from acceptance.chaos.stage import Stage, open_stage
from acceptance.chaos.wire import Wire
from acceptance.chaos.wishes import Wish
from postgresql_server import PostgresServer

#: Seconds that the fleet may take to answer for the first time.
START_S = 60.0
#: Seconds that gateways have to notice that their callers hung up, and to let threads end that idle.
SETTLE_S = 5.0
#: Seconds between two lines of progress.
TELL_EVERY_S = 2.0

Tell = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    #: What the outside hands wrote down.
    evidence: Evidence
    #: How often each fault really happened.
    faults: Counter[str]
    #: How often calls were answered with what, and what became of wishes.
    counts: Counter[str]
    #: Processes that were started.
    lives: int
    #: How long the run took, in seconds.
    took_s: float
    #: How long it took all tasks to end after calm, in seconds; None when they did not.
    terminal_after_s: float | None


async def perform(plan: Plan, folder: Path, *, server: PostgresServer | None, tell: Tell) -> Outcome:
    """Carry out a plan.

    Args:
        plan: what to do.
        folder: empty; everything that processes write goes there.
        server: runs; the database is made on it. Without one it is a SQLite file.
        tell: takes lines of progress.
    """
    tell(f"{plan.name}: {len(plan.wishes):,} wishes, {plan.replicas} replicas, {plan.gateways} gateways")
    async with open_stage(plan, folder, server) as stage:
        telling = asyncio.create_task(_tell_progress(stage, tell))
        try:
            await _play(stage)
        except asyncio.CancelledError:
            _forgive()
            tell("interrupted; what follows is what is known")
        finally:
            telling.cancel()
        stage.fleet.end()
        evidence = await _collect(stage)
    return Outcome(
        evidence=evidence,
        faults=_faults(stage, evidence),
        counts=stage.client.counts,
        lives=stage.fleet.lives,
        took_s=time.monotonic() - stage.began,
        terminal_after_s=stage.terminal_after_s,
    )


def _forgive() -> None:
    # Ctrl-C has asked this task to end, and it will; but first it reads the books.
    if (task := asyncio.current_task()) is not None:
        task.uncancel()


async def _play(stage: Stage) -> None:
    """Ask, disturb, calm down, and wait for the end of everything that was accepted."""
    await _until_serving(stage)
    stage.before = _footprints(stage.fleet)
    sampling = asyncio.create_task(stage.sampler.run())
    thawing = asyncio.create_task(stage.killer.thaw())
    calm = asyncio.Event()
    killing = asyncio.create_task(stage.killer.run(calm))
    following: set[asyncio.Task[None]] = set()
    try:
        await _ask_all(stage, following)
        calm.set()
        await killing
        await _until_all_ended(stage, following)
        await _until_settled(stage)
        stage.is_complete = True
    finally:
        calm.set()
        for task in (sampling, thawing, *following):
            task.cancel()
        await asyncio.gather(killing, return_exceptions=True)  # it leaves the database running


async def _ask_all(stage: Stage, following: set[asyncio.Task[None]]) -> None:
    """Send every wish at its time, and return when each was accepted or refused."""
    room = asyncio.Semaphore(stage.plan.at_once)
    pause_s = stage.plan.over_s / len(stage.plan.wishes)
    began = time.monotonic()
    async with asyncio.TaskGroup() as asking:
        for index, wish in enumerate(stage.plan.wishes):
            await asyncio.sleep(max(0.0, began + index * pause_s - time.monotonic()))
            await room.acquire()
            asking.create_task(_live(stage.client, wish, room, following))


async def _live(client: Client, wish: Wish, room: asyncio.Semaphore, following: set[asyncio.Task[None]]) -> None:
    try:
        task_id = await client.submit(wish)
    finally:
        room.release()
    if task_id is not None:
        following.add(asyncio.create_task(client.follow(wish, task_id)))


async def _until_all_ended(stage: Stage, following: set[asyncio.Task[None]]) -> None:
    """Wait until every task has ended, and its caller has seen and been told so; at most as long as is allowed."""
    calm_at = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(stage.plan.calm_s):
            await _until_none(count_alive, stage.books)
            stage.terminal_after_s = time.monotonic() - calm_at
            if following:
                await asyncio.wait(following)
            await _until_none(count_untold, stage.books)


async def _until_settled(stage: Stage) -> None:
    """Hang up, and give the gateways some time to let go of what they need no more."""
    stage.wire.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            while not stage.after or grown(stage.before, stage.after):
                await asyncio.sleep(0.2)
                stage.after = _footprints(stage.fleet)


async def _until_none(count: Callable[[Books], Awaitable[int]], books: Books) -> None:
    # Asked again and again, for the database tells nobody but the product.
    while True:
        with suppress(*AWAY):
            if not await count(books):
                return
        await asyncio.sleep(0.1)


async def _until_serving(stage: Stage) -> None:
    async with asyncio.timeout(START_S):
        for port in stage.ports:
            one = Wire([port], random=dice(0))
            while (await one.call("GET", "/healthz", {})).status != 200:
                stage.fleet.check()
                await asyncio.sleep(0.05)
            one.close()


def _footprints(fleet: Fleet) -> list[Footprint]:
    found = []
    for slot in fleet.alive("gateway"):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(slot.pid)
            memory_mib = process.memory_info().rss // 2**20
            found.append(
                Footprint(
                    name=slot.orders.name,
                    descriptors=process.num_fds(),
                    threads=process.num_threads(),
                    memory_mib=memory_mib,
                )
            )
    return found


async def _tell_progress(stage: Stage, tell: Tell) -> None:
    while True:
        counts, faults = stage.client.counts, stage.killer.fired.total()
        tell(
            f"{time.monotonic() - stage.began:5.0f} s  settled {counts['settled']:,} of {len(stage.plan.wishes):,}"
            f" | accepted {counts['accepted']:,} | ended {counts['ended']:,} | lives {stage.fleet.lives}"
            f" | faults {faults}"
        )
        await asyncio.sleep(TELL_EVERY_S)


async def _collect(stage: Stage) -> Evidence:
    return Evidence(
        wishes=stage.plan.wishes,
        ledger=read_journals(stage.folder / "ledger"),
        journals=read_journals(stage.folder / "journals"),
        mail=read_journals(stage.folder / "mail"),
        record=await read_record(stage.books),
        outputs=stage.folder / "outputs",
        lease_s=stage.plan.lease_s,
        samples=stage.sampler.samples,
        footprints=(stage.before, stage.after),
        is_complete=stage.is_complete,
    )


def _faults(stage: Stage, evidence: Evidence) -> Counter[str]:
    crashes = Counter(f"gateway died {entry['point']}" for entry in evidence.witnessed("crash point"))
    stopped = Counter("replica stopped with a write in hand" for _ in evidence.witnessed("stopped"))
    poisoned = Counter("replica killed by its task" for _ in evidence.witnessed("poisoned"))
    proxied = Counter({f"proxy: {name}": times for name, times in (stage.proxy.fired if stage.proxy else {}).items()})
    unwelcome = [entry for entry in evidence.mail if entry["welcome"] != Welcome.TAKES]
    received = Counter(f"receiver: {entry['welcome']}" for entry in unwelcome)
    return stage.killer.fired + received + crashes + stopped + poisoned + proxied
