"""Measures one server at several rates, the lowest first: start, first answer, warm-up, idle, load after load, stop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.cpu import cpu_times, spent_s
from loadtest.openloop.wire import Wire, connected
from loadtest.peers.finding import Cost, Finding, found
from loadtest.peers.offering import PATIENCE_S, offer, tell
from loadtest.peers.peer import Peer
from loadtest.peers.starting import Running, Site, started
from loadtest.peers.wish import CAPACITY_PER_S, SHAPES, Wish, draw_wishes

#: Seconds in which a server gives its first good answer, and in which one that was overloaded answers again.
READY_S, SETTLE_S = 300.0, 180.0
#: Seconds between two looks at a server that does not answer yet.
LOOK_S = 0.3
#: Seconds in which nobody calls, to see what a server uses by itself.
IDLE_S = 3.0
#: What is asked for in the warm-up, as a share of what the model can do.
WARM_UP_LOAD = 0.3

Report = Callable[[str], None]
#: Takes a finding as soon as there is one, so that none is lost with a server that fails later.
Note = Callable[[Finding], None]


class NoGoodAnswer(Exception):
    """A server has not answered well in time; the message says so in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """How every server is measured."""

    #: What is asked for, as shares of what the model can do in full groups of one shape; in rising order.
    loads: Sequence[float]
    #: How long each of them lasts.
    seconds: float
    #: How long wishes come before the first of them.
    warm_up_s: float
    #: Seconds within which an answer is in time.
    slo_s: float
    #: Of the draw.
    seed: int = 7


def measure(peer: Peer, site: Site, scene: Scene, *, report: Report, note: Note) -> None:
    """Measure a server.

    Raises:
        CannotInstall: when it has to be installed and cannot be.
        ServerEnded: when it ends by itself.
        NoGoodAnswer: when it does not answer well in time.
    """
    report("installing and starting")
    with started(peer, site) as running:
        asyncio.run(_measure(peer, running, scene, report=report, note=note))


async def _measure(peer: Peer, running: Running, scene: Scene, *, report: Report, note: Note) -> None:
    async with connected(f"http://127.0.0.1:{running.site.port}") as wire:
        first_s = await _answering(peer, wire, running, within_s=READY_S)
        report(f"answers after {first_s:.1f} s; warming up")
        warm_up = draw_wishes(rate=WARM_UP_LOAD * CAPACITY_PER_S, seconds=scene.warm_up_s, seed=0, poisoned=0.0)
        await offer(warm_up, peer, wire)
        await _answering(peer, wire, running, within_s=SETTLE_S)
        idle_cores = await _idle_cores(running)
        for load in scene.loads:
            # What the load before has left queued is worked off first.
            await _answering(peer, wire, running, within_s=SETTLE_S)
            finding = await _at(load, peer, wire, running, scene=scene, idle_cores=idle_cores)
            note(finding)
            report(line_of(finding))


async def _answering(peer: Peer, wire: Wire, running: Running, *, within_s: float) -> float:
    """Ask again and again until a good answer comes; return how many seconds that took."""
    started_s, status = time.monotonic(), None
    wish = Wish(number=0, at_s=0.0, shape=next(iter(SHAPES)), is_poisoned=False)
    while time.monotonic() < started_s + within_s:
        running.check()
        answered = await tell(wish, peer, wire, due_s=asyncio.get_running_loop().time())
        if answered.is_good:
            return time.monotonic() - started_s
        status = answered.status
        await asyncio.sleep(LOOK_S)
    raise NoGoodAnswer(f"no good answer within {within_s:g} s, the last was {status or 'none'}")


async def _idle_cores(running: Running) -> float:
    before = cpu_times(running.process.pid)
    await asyncio.sleep(IDLE_S)
    return spent_s(before, cpu_times(running.process.pid)) / IDLE_S


async def _at(load: float, peer: Peer, wire: Wire, running: Running, *, scene: Scene, idle_cores: float) -> Finding:
    wishes = draw_wishes(rate=load * CAPACITY_PER_S, seconds=scene.seconds, seed=scene.seed)
    load_average = os.getloadavg()[0]
    calls_before, before, started_s = len(_groups(running.site)), cpu_times(running.process.pid), time.monotonic()
    async with asyncio.timeout(scene.seconds + 2 * PATIENCE_S):
        told = await offer(wishes, peer, wire)
    wall_s = time.monotonic() - started_s
    running.check()
    cost = Cost(
        cpu_s=max(spent_s(before, cpu_times(running.process.pid)) - idle_cores * wall_s, 0.0),
        idle_cores=idle_cores,
        groups=_groups(running.site)[calls_before:],
        load_average=load_average,
    )
    return found(told, cost, peer=peer.name, load=load, slo_s=scene.slo_s, seconds=scene.seconds)


def _groups(site: Site) -> list[int]:
    return [int(line) for line in site.calls.read_text(encoding="ascii").split()] if site.calls.exists() else []


def line_of(finding: Finding) -> str:
    """Say in a line how a server did at one rate."""
    latency = "-" if finding.p50_ms is None else f"p50 {finding.p50_ms:.0f} p99 {finding.p99_ms:.0f} ms"
    cpu = "-" if finding.cpu_ms is None else f"{finding.cpu_ms:.1f} ms"
    return (
        f"{finding.load:.2f}: {finding.offered_per_s:.0f}/s asked, {finding.goodput_per_s:.1f}/s good, {latency}, "
        f"CPU {cpu}, group {finding.group}, {finding.failed_neighbours} neighbours failed, "
        f"{finding.turned_away} turned away, {finding.unanswered} unanswered"
    )
