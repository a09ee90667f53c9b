"""Who stands where in a run: an adversary outside the product, and witnesses beside it.

     load client ──► gateways ─┐                     ┌── sampler, books: past the proxy
                     replicas ─┼──► fault proxy ──► database
    letterbox ◄─ housekeepers ─┘

The killer ends, stops and disturbs each of them. Without a server the database is a SQLite file, and there is no proxy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from random import Random

from acceptance.chaos.books import Books, PostgresBooks, SqliteBooks
from acceptance.chaos.bugs import DROP_INDEX, Bug
from acceptance.chaos.client import Client
from acceptance.chaos.dice import dice
from acceptance.chaos.doors import move, open_database
from acceptance.chaos.evidence import Footprint
from acceptance.chaos.fleet import Fleet, free_ports, open_fleet
from acceptance.chaos.journal import Journal
from acceptance.chaos.killer import Killer
from acceptance.chaos.letterbox import open_letterbox
from acceptance.chaos.orders import Orders
from acceptance.chaos.plan import Plan
from acceptance.chaos.proxy import ProxyProcess, open_proxy
from acceptance.chaos.sampler import Sampler
from acceptance.chaos.wire import Wire
from postgresql_server import PostgresServer

from deployments.tenants.directory import TenantDirectory


@dataclass(slots=True, kw_only=True)
class Stage:
    """A fleet, its database and everybody who watches."""

    #: What is to be done.
    plan: Plan
    #: Everything that is written lies here.
    folder: Path
    #: The database, past every fault.
    books: Books
    #: The processes under test.
    fleet: Fleet
    #: Asks.
    client: Client
    #: Looks at tenants all the time.
    sampler: Sampler
    #: Disturbs.
    killer: Killer
    #: Stands before the database; None where that is a file.
    proxy: ProxyProcess | None
    #: The client's way to the gateways.
    wire: Wire
    #: The gateways' ports.
    ports: Sequence[int]
    #: When all this began, on the clock that only grows.
    began: float = field(default_factory=time.monotonic)
    #: Gateways when they had just started.
    before: list[Footprint] = field(default_factory=list)
    #: Gateways when all was over.
    after: list[Footprint] = field(default_factory=list)
    #: How long it took all tasks to end after calm, in seconds; None when they did not.
    terminal_after_s: float | None = None
    #: Whether the run came to its end.
    is_complete: bool = False


@asynccontextmanager
async def open_stage(plan: Plan, folder: Path, server: PostgresServer | None) -> AsyncIterator[Stage]:
    """Set everything up; when the block ends, all processes are gone and the folder is left."""
    random = dice(plan.seed)
    ports = free_ports(plan.gateways + 1, random)
    async with AsyncExitStack() as stack:
        url, books = await _make_database(plan, folder, server)
        proxy = None
        if server is not None:
            proxy = await stack.enter_async_context(open_proxy(ports[-1], server.port, seed=plan.seed))
            url = url.replace(f":{server.port}/", f":{ports[-1]}/")
        letterbox = await stack.enter_async_context(open_letterbox(Journal(folder / "mail" / "mail.jsonl")))
        (folder / "logs").mkdir()
        fleet = await stack.enter_async_context(open_fleet(folder / "logs", arm=_arming(plan, random)))
        wire = Wire(ports[:-1], random=random)
        stack.callback(wire.close)
        client = Client(
            wire,
            letterbox=letterbox,
            ledger=Journal(folder / "ledger" / "ledger.jsonl"),
            random=random,
            max_calls=plan.max_calls,
        )
        _fill(fleet, plan, _orders(plan, folder, url), ports)
        yield Stage(
            plan=plan,
            folder=folder,
            books=books,
            fleet=fleet,
            client=client,
            sampler=Sampler(books),
            killer=Killer(fleet, server=server, proxy=proxy, pace=plan.pace, random=random),
            proxy=proxy,
            wire=wire,
            ports=ports[:-1],
        )


async def _make_database(plan: Plan, folder: Path, server: PostgresServer | None) -> tuple[str, Books]:
    """Make the database, its tenants and its history; take away what the planted bug takes away."""
    books: Books
    if server is None:
        url = f"sqlite:///{folder / 'uxo.db'}"
        books = SqliteBooks(str(folder / "uxo.db"))
    else:
        name = await asyncio.to_thread(server.create_database, f"chaos_{time.monotonic_ns()}")
        url = server.url(name)
        books = postgres = PostgresBooks(url.replace("+asyncpg", ""))
    await move(url, post=True)
    if server is not None and plan.bug == Bug.NO_UNIQUE_INDEX:
        await postgres.run(DROP_INDEX)
    await books.plant_history()
    database = await open_database(url)
    for tenant in plan.tenants:
        await TenantDirectory(database).create(tenant)
    await database.close()
    return url, books


def _orders(plan: Plan, folder: Path, url: str) -> Orders:
    return Orders(
        role="",
        name="",
        database_url=url,
        folder=str(folder),
        lease_s=plan.lease_s,
        step_s=plan.step_s,
        stop_every=plan.stop_every,
        bug=plan.bug,
    )


def _fill(fleet: Fleet, plan: Plan, orders: Orders, ports: Sequence[int]) -> None:
    for number in range(plan.housekeepers):
        fleet.start(replace(orders, role="housekeeper", name=f"housekeeper-{number}"))
    for number in range(plan.gateways):
        fleet.start(replace(orders, role="gateway", name=f"gateway-{number}", port=ports[number]))
    for number in range(plan.replicas):
        fleet.start(replace(orders, role="replica", name=f"replica-{number}"))


def _arming(plan: Plan, random: Random) -> Callable[[Orders], Orders]:
    points = cycle(plan.crash_points)

    def arm(orders: Orders) -> Orders:
        if orders.role != "gateway" or not plan.crash_points:
            return orders
        return replace(orders, crash_point=next(points), crash_after_s=random.uniform(*plan.crash_after_s))

    return arm
