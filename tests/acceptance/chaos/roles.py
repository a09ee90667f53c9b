"""The processes under test, composed of the product's real parts as its composition root does, but without Ray.

Only the engine is fake. A planted bug takes the place of a part from outside; the product has no switch for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import uvicorn
from acceptance.chaos.brisk import SEND_S, BriskOutbox, pause_s
from acceptance.chaos.bugs import (
    GATEWAY_STORES,
    HOUSEKEEPER_OUTBOXES,
    REPLICA_FILES,
    REPLICA_STORES,
    Bug,
    forget_tenant_lock,
    skew_clock,
)
from acceptance.chaos.crash_points import ArmedDialect, ArmedStore, CrashPoint, Fuse
from acceptance.chaos.doors import Database, open_database, open_signal
from acceptance.chaos.journal import Journal
from acceptance.chaos.orders import KEYS, SECRET, Orders
from acceptance.chaos.paint import PaintPipeline
from acceptance.chaos.witness import WitnessStore
from running_replica import decode_here

from deployments.delivering import no_upload
from deployments.delivery.files import FilesSink
from deployments.delivery.inline import InlineSink
from deployments.delivery.kept_space import KeptSpace
from deployments.delivery.sink import Sink
from deployments.dialects.wavespeed import WaveSpeed
from deployments.erasing import Eraser
from deployments.housekeeper import Housekeeper
from deployments.ingress.application import make_ingress
from deployments.ingress.parts import Parts
from deployments.operations.doors import Doors as OperationsDoors
from deployments.operations.operations import Operations
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.references import References
from deployments.replica.doors import Doors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.tasks.contents import ContentStore
from deployments.tasks.store import TaskStore
from deployments.telemetry.logs import configure_logging
from deployments.tenants.keys import KeyRing
from deployments.tenants.webhook_keys import WebhookSigner
from deployments.webhooks import Scribe, WebhookSender
from models.engine import Engine

#: Longer than any run, in seconds: nothing is swept or forgotten while the books are open.
KEEP_S = 7 * 24 * 3600.0
#: Tasks that may wait over all tenants; far more than any run has.
MAX_QUEUED = 50_000


def journal_of(orders: Orders) -> Journal:
    """Open the journal of a process; the same slot goes on in the same file."""
    return Journal(Path(orders.folder, "journals", f"{orders.name}.jsonl"))


def files_of(orders: Orders, kind: type[FilesSink] = FilesSink) -> FilesSink:
    """Open the pictures."""
    return kind(Path(orders.folder, "outputs"), ttl_s=KEEP_S)


def run_gateway(orders: Orders) -> None:
    """Serve HTTP until killed."""
    if orders.bug == Bug.NO_UNIQUE_INDEX:
        forget_tenant_lock()
    point = CrashPoint(orders.crash_point) if orders.crash_point else None
    fuse = Fuse(point, after_s=orders.crash_after_s, journal=journal_of(orders))

    @asynccontextmanager
    async def open_parts() -> AsyncIterator[Parts]:
        database = await open_database(orders.database_url)
        signal = open_signal(orders.database_url)
        files = files_of(orders)
        store = GATEWAY_STORES.get(orders.bug, ArmedStore)(database, fuse)
        doors = OperationsDoors.over(
            database,
            store=store,
            signal=signal,
            files=files,
            sinks={"files": files, "inline": InlineSink()},
            references=References(files, ReferenceFetcher(GuardedClient(Rules()))),
            upload=no_upload,
            secret=SECRET,
            max_queued=MAX_QUEUED,
            rules=Rules(allows_private=True),
        )
        keys = KeyRing({tenant: (key,) for tenant, key in KEYS.items()}, directory=doors.directory, secret=SECRET)
        operations = Operations(doors, wait_s=30.0)
        yield Parts(operations=operations, keys=keys, files=files, kept=doors.kept, store=store)

    app = fuse.around(make_ingress([ArmedDialect(fuse)], open_parts))
    # Its event loop hands every write to the kernel at once, so that a crash after the answer is one after the answer.
    uvicorn.run(app, host="127.0.0.1", port=orders.port, loop="asyncio", log_level="warning", access_log=False)


def run_replica(orders: Orders) -> None:
    """Claim, step and deliver until killed."""
    asyncio.run(_run_replica(orders))


async def _run_replica(orders: Orders) -> None:
    journal = journal_of(orders)
    database = await open_database(orders.database_url)
    doors = Doors(
        store=REPLICA_STORES.get(orders.bug, WitnessStore)(database, journal=journal, stop_every=orders.stop_every),
        signal=open_signal(orders.database_url),
        fetcher=ReferenceFetcher(GuardedClient(Rules())),
        decode=decode_here,
        sinks={"files": files_of(orders, REPLICA_FILES.get(orders.bug, FilesSink)), "inline": InlineSink()},
    )
    pipeline = PaintPipeline(step_s=orders.step_s, journal=journal)
    limits = Limits(capacity=orders.capacity, lease_s=orders.lease_s)
    await Replica(orders.name, engine=Engine({"uno": pipeline}), doors=doors, limits=limits).run(asyncio.Event())


def run_housekeeper(orders: Orders) -> None:
    """Rescue, tidy and tell until killed."""
    if orders.bug == Bug.WALL_CLOCK:
        skew_clock()
    asyncio.run(_run_housekeeper(orders))


async def _run_housekeeper(orders: Orders) -> None:
    database = await open_database(orders.database_url)
    files = files_of(orders)
    eraser = Eraser(ContentStore(database), {"files": files, "inline": InlineSink()}, keep_s=KEEP_S)
    housekeeper = Housekeeper(
        store=TaskStore(database), files=files, space=KeptSpace(database), eraser=eraser, keep_s=KEEP_S
    )
    never = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(housekeeper.run(never))
        group.create_task(_sender(orders, database).run(never))


def _sender(orders: Orders, database: Database) -> WebhookSender:
    sinks: dict[str, Sink] = {"files": files_of(orders), "inline": InlineSink()}
    return WebhookSender(
        outbox=HOUSEKEEPER_OUTBOXES.get(orders.bug, BriskOutbox)(database),
        signal=open_signal(orders.database_url),
        client=GuardedClient(Rules(allows_private=True), total_s=SEND_S),
        scribe=Scribe(dialects={WaveSpeed.name: WaveSpeed()}, sinks=sinks, signer=WebhookSigner(SECRET)),
        pause_s=pause_s,
    )


#: What runs a process, by its role.
ROLES: Mapping[str, Callable[[Orders], None]] = MappingProxyType(
    {"gateway": run_gateway, "replica": run_replica, "housekeeper": run_housekeeper}
)


def run(orders: Orders) -> None:
    """Be the process that the orders describe, until killed."""
    configure_logging(level=logging.WARNING)
    ROLES[orders.role](orders)
