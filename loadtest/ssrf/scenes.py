"""What is tried in the small world, scene by scene."""

from __future__ import annotations

from functools import partial

from deployments.outbound.client import GuardedClient
from deployments.outbound.rules import Rules
from loadtest.ssrf.doors import DOORS, Door, Found, World, fetch, tell
from loadtest.ssrf.origin import REDIRECTS, STALLS, STATUSES
from loadtest.ssrf.spellings import spellings
from loadtest.ssrf.targets import NOT_PUBLIC, ORIGIN, ORIGIN_NAME, PUBLIC, TARGETS

#: Public addresses of both kinds beside which another stands in one answer.
BESIDE = (ORIGIN, PUBLIC[-3])


async def spelt(world: World) -> Found:
    """Ask for every spelling of every target at every door."""
    urls = [url for target in TARGETS for url in spellings(target)]
    return await world.run(((door, url, None) for url in urls for door in DOORS.values()), Found())


async def addresses(world: World) -> Found:
    """Ask for every address as a literal and behind names, alone and among public ones; public ones must answer."""
    rows: list[tuple[str, bool]] = []
    for number, (ip, is_public) in enumerate([*((ip, True) for ip in PUBLIC), *((ip, False) for ip in NOT_PUBLIC)]):
        rows.append((f"http://[{ip}]/" if ":" in ip else f"http://{ip}/", is_public))
        for name, answer in (("alone", [ip]), ("before", [ip, *BESIDE]), ("after", [*BESIDE, ip])):
            host = f"{name}-{number}.test"
            world.names.answers[host] = partial(always, list(answer))
            rows.append((f"http://{host}/", is_public))
    calls = ((door, url, is_public) for url, is_public in rows for door in DOORS.values())
    return await world.run(calls, Found())


async def rebound(world: World, *, tries: int) -> Found:
    """Ask for names whose first answer is public and whose later ones are not: each is asked once, and answers."""
    rows = []
    for number in range(tries):
        host, target = f"again-{number}.test", TARGETS[number % 8]
        world.names.answers[host] = _Fickle(ORIGIN, target)
        rows.append((list(DOORS.values())[number % 3], f"http://{host}/", True))
        back = f"back-{number}.test"
        world.names.answers[back] = _Fickle(target, ORIGIN)
        rows.append((list(DOORS.values())[number % 3], f"http://{back}/", False))
        hop = f"hop-{number}.test"
        world.names.answers[hop] = _Fickle(ORIGIN, target)
        rows.append((fetch, f"http://{hop}/to/self", False))
    return await world.run(rows, Found(), at_once=128)


async def redirected(world: World) -> Found:
    """Be sent elsewhere by the public server, in every way and with every status; only a reference follows."""
    rows = [
        (door, f"http://{ORIGIN_NAME}/r/{status}/{kind.replace(' ', '_')}", door is tell)
        for status in STATUSES
        for kind in REDIRECTS
        for door in DOORS.values()
    ]
    hops = [(fetch, f"http://{ORIGIN_NAME}/hops/{count}", count <= 3) for count in (1, 2, 3, 4, 20)]
    down = [(fetch, f"https://{ORIGIN_NAME}/to/http", False)]
    return await world.run([*rows, *hops, *down], Found())


async def certified(world: World) -> Found:
    """Ask servers to prove their names: the right one answers, and whoever is not known or is another does not."""
    names = {ORIGIN_NAME: True, "other.test": False, "expired.test": False, "stranger.test": False}
    for name in names:
        world.names.answers[name] = partial(always, [ORIGIN])
    rows = [(door, f"https://{name}/", is_good) for name, is_good in names.items() for door in DOORS.values()]
    rows += [(door, f"https://{ORIGIN}/", False) for door in DOORS.values()]
    return await world.run(rows, Found())


async def stalled(world: World) -> Found:
    """Ask for answers that do not end; each call ends by itself in time, with an error of its kind."""
    rows: list[tuple[Door, str, bool | None]] = [
        (door, f"http://{ORIGIN_NAME}{path}", None if door is not fetch else False)
        for path in STALLS
        for door in DOORS.values()
    ]
    return await world.run(rows, Found())


async def unguarded(world: World) -> Found:
    """Do without the guard: the listeners must see what then gets through."""
    open_world = World(
        names=world.names,
        listeners=world.listeners,
        client=GuardedClient(Rules(allows_private=True), tls=world.authority.trusting()),
        authority=world.authority,
    )
    rows: list[tuple[Door, str, bool | None]] = [
        (door, f"http://{target}/", None) for target in TARGETS[2:6] for door in DOORS.values()
    ]
    return await open_world.run(rows, Found())


class _Fickle:
    """A name that answers one address the first time, and another from then on."""

    def __init__(self, first: str, later: str) -> None:
        self._answers = [first, later]

    def __call__(self, is_v6: bool) -> list[str]:  # noqa: FBT001 -- the answerer's question
        if is_v6:
            return []
        return [self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]]


def always(ips: list[str], _is_v6: bool) -> list[str]:  # noqa: FBT001 -- as above
    """Answer the same addresses for ever."""
    return ips
