"""The killer: ends, stops and disturbs what is under test at random moments, and counts what it really did."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

import psutil
from acceptance.chaos.fleet import Fleet, Slot
from acceptance.chaos.proxy import Mischief, ProxyProcess
from postgresql_server import PostgresServer

#: Least and most seconds between two faults of a class.
Span = tuple[float, float]

#: How often each kind of process is chosen: replicas most, for they hold what can be lost.
_VICTIMS: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("replica", "killed"): 4,
        ("replica", "frozen"): 4,
        ("gateway", "killed"): 2,
        ("gateway", "frozen"): 1,
        ("housekeeper", "killed"): 2,
        ("housekeeper", "frozen"): 2,
    }
)
#: How a database goes away.
_ENDINGS = ("restarted fast", "restarted at once", "killed")
#: Most seconds for which the database stays away. Source: DBOS's chaos test, which takes 0 to 2 s, seen 2026-11.
MAX_DOWN_S = 2.0
#: Seconds between two looks for replicas that have stopped themselves.
LOOK_EVERY_S = 0.1
#: Seconds for which the proxy misbehaves.
MISCHIEF_S: Span = (0.5, 2.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often what happens; None means never."""

    #: A process is killed or stopped.
    process_every_s: Span | None = None
    #: The database goes away and comes back.
    database_every_s: Span | None = None
    #: The proxy misbehaves.
    proxy_every_s: Span | None = None
    #: How long a process is stopped; longer than a lease.
    freeze_s: float = 3.0
    #: What may be done to processes, each once at first, and then each with its weight.
    victims: Mapping[tuple[str, str], float] = field(default_factory=lambda: _VICTIMS)


class Killer:
    """Disturbs a fleet, its database and the way between them."""

    def __init__(
        self, fleet: Fleet, *, server: PostgresServer | None, proxy: ProxyProcess | None, pace: Pace, random: Random
    ) -> None:
        """Take what can be disturbed, how often, and what chooses."""
        self._fleet = fleet
        self._server = server
        self._proxy = proxy
        self._pace = pace
        self._random = random
        #: What has not been done to any process yet; it comes before anything comes twice, so that no run goes without.
        self._owed = random.sample(sorted(pace.victims), len(pace.victims))
        #: How often each fault happened.
        self.fired: Counter[str] = Counter()

    async def run(self, calm: asyncio.Event) -> None:
        """Disturb until it is to be calm; then let everything go on that was stopped."""
        async with asyncio.TaskGroup() as faults:
            faults.create_task(self._repeat(calm, self._pace.process_every_s, self._hit_process))
            faults.create_task(self._repeat(calm, self._pace.database_every_s, self._hit_database))
            faults.create_task(self._repeat(calm, self._pace.proxy_every_s, self._hit_proxy))
        for slot in self._fleet.frozen():
            self._fleet.thaw(slot)

    async def thaw(self) -> None:
        """Let replicas go on that have stopped themselves, each after a while, until cancelled."""
        seen: set[tuple[str, int]] = set()
        while True:
            stopped = {
                (slot.orders.name, slot.pid): slot for slot in self._fleet.alive("replica") if is_stopped(slot.pid)
            }
            for key in stopped.keys() - seen:
                asyncio.get_running_loop().call_later(self._pace.freeze_s, self._thaw, stopped[key], key[1])
            seen = set(stopped)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _repeat(self, calm: asyncio.Event, every_s: Span | None, hit: Callable[[], Awaitable[None]]) -> None:
        if every_s is None:
            return
        while not await _is_set_within(calm, self._random.uniform(*every_s)):
            await hit()

    async def _hit_process(self) -> None:
        role, fate = self._owed[-1] if self._owed else self._draw()
        alive = self._fleet.alive(role)
        if not alive:
            return
        if self._owed:
            self._owed.pop()
        victim = self._random.choice(alive)
        if fate == "killed":
            self._fleet.kill(victim)
        else:
            self._fleet.freeze(victim)
            asyncio.get_running_loop().call_later(self._pace.freeze_s, self._thaw, victim, victim.pid)
        self.fired[f"{role} {fate}"] += 1

    def _draw(self) -> tuple[str, str]:
        [drawn] = self._random.choices(list(self._pace.victims), list(self._pace.victims.values()))
        return drawn

    def _thaw(self, slot: Slot, pid: int) -> None:
        if slot.pid == pid:
            self._fleet.thaw(slot)

    async def _hit_database(self) -> None:
        assert self._server is not None
        ending = self._random.choice(_ENDINGS)
        await asyncio.to_thread(_end, self._server, ending)
        await asyncio.sleep(self._random.uniform(0, MAX_DOWN_S))
        await asyncio.to_thread(self._server.start)
        self.fired[f"database {ending}"] += 1

    async def _hit_proxy(self) -> None:
        assert self._proxy is not None
        await self._proxy.misbehave(self._random.choice(list(Mischief)), for_s=self._random.uniform(*MISCHIEF_S))


def is_stopped(pid: int) -> bool:
    """Whether a process stands still."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def _end(server: PostgresServer, ending: str) -> None:
    match ending:
        case "restarted fast":
            server.stop("fast")
        case "restarted at once":
            server.stop("immediate")
        case _:
            server.kill()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
