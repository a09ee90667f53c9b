"""What can be measured: a server over HTTP, or the task store alone in this process.

Both take the same operations, so their figures stand side by side: what a submission costs above the store's insert
is HTTP, our parsing and Ray Serve.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from deployments.clock import utc_now
from deployments.database.database import open_database
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant
from loadtest.closed_loop import Client, closed_loop, connected, http_clients, wire_call
from loadtest.cpu import CpuTimes, cpu_times, spent_s
from loadtest.figures import Cell, percentile
from models.request import GenerationRequest, Reference, Role

#: Who sends the load.
TENANT = "loadtest"
#: The key every call shows.
KEY = "loadtest-0123456789abcdef"
PROMPT = "the red mug on a rock by the sea, soft light of a late afternoon, seen from slightly above"
SMALL_REFERENCE = "https://pictures.example.com/references/red-mug-on-a-white-table-2048x1536.png"
#: 1 MiB of base64; the ingress stores it as it is and looks at it no closer than at its scheme.
LARGE_REFERENCE = "data:image/png;base64," + "A" * 1024**2

SUBMIT_PATH = "/api/v3/wavespeed-ai/uno"
RESULT_PATH = "/api/v3/predictions/{id}/result"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What all clients ask for, again and again."""

    #: As it stands in tables.
    name: str
    #: How many ask at once.
    clients: int
    #: The reference of a submission; None asks for the result of one task that is queued.
    reference: str | None

    @property
    def title(self) -> str:
        """Return the name with the number of clients."""
        return f"{self.name} x{self.clients}"


OPERATIONS = (
    Operation(name="submit", clients=1, reference=SMALL_REFERENCE),
    Operation(name="submit", clients=16, reference=SMALL_REFERENCE),
    Operation(name="read", clients=16, reference=None),
    Operation(name="submit 1 MiB", clients=4, reference=LARGE_REFERENCE),
)


class Target(Protocol):
    """Something that can be measured."""

    @property
    def name(self) -> str:
        """Return what it is called in tables."""
        ...

    def clients(self, operation: Operation) -> AbstractAsyncContextManager[Sequence[Client]]:
        """Connect the operation's clients."""
        ...

    def cpu(self) -> CpuTimes:
        """Return the CPU seconds its processes have used so far; empty when it runs in this process."""
        ...


async def measure(target: Target, operation: Operation, *, round_: int, seconds: float, idle_cores: float) -> Cell:
    """Load a target for some seconds.

    Args:
        target: who is asked.
        operation: what for, and by how many at once.
        round_: counted from 1.
        seconds: how long.
        idle_cores: CPU seconds per second that the target uses when nobody calls; left out of the figure.
    """
    async with target.clients(operation) as clients:
        before, own_before = target.cpu(), time.process_time()
        load = await closed_loop(clients, seconds=seconds)
        own_s = time.process_time() - own_before
        after = target.cpu()
    calls = len(load.durations_ms)
    server_s = spent_s(before, after) - idle_cores * load.wall_s if after else own_s
    return Cell(
        round=round_,
        target=target.name,
        operation=operation.title,
        calls=calls,
        wall_s=round(load.wall_s, 3),
        p50_ms=round(percentile(load.durations_ms, 0.50), 3),
        p99_ms=round(percentile(load.durations_ms, 0.99), 3),
        per_s=round(calls / load.wall_s, 2),
        cpu_ms=round(server_s * 1000 / calls, 3),
        load_cpu_ms=round(own_s * 1000 / calls, 3) if after else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget:
    """A server on this machine."""

    #: What it is called in tables.
    name: str
    #: Where it listens.
    port: int
    #: Its first process.
    pid: int
    #: The task whose result is read.
    task_id: str

    @asynccontextmanager
    async def clients(self, operation: Operation) -> AsyncIterator[Sequence[Client]]:
        """Connect the operation's clients."""
        call = self._submission(operation.reference) if operation.reference else self._read()
        async with http_clients(call, port=self.port, count=operation.clients) as clients:
            yield clients

    def cpu(self) -> CpuTimes:
        """Return the CPU seconds of all of the server's processes."""
        return cpu_times(self.pid)

    def _submission(self, reference: str) -> bytes:
        return wire_call("POST", SUBMIT_PATH, key=KEY, body=submission(reference))

    def _read(self) -> bytes:
        return wire_call("GET", RESULT_PATH.format(id=self.task_id), key=KEY)


def submission(reference: str) -> bytes:
    """Return the body of a submission."""
    return json.dumps({"images": [reference], "prompt": PROMPT, "image_size": "square_hd", "seed": 7}).encode("ascii")


async def first_task(port: int) -> str:
    """Submit one task and return its id; of a server that names none, an id that is as long."""
    call = wire_call("POST", SUBMIT_PATH, key=KEY, body=submission(SMALL_REFERENCE))
    async with connected(port) as connection:
        answer = json.loads(await connection.exchange(call))
    return str(answer.get("data", {}).get("id", "0" * 32))


async def let_pile_up(url: str) -> None:
    """Let the tenant of the load have as many tasks waiting as come in."""
    database = await open_database(url)
    directory = TenantDirectory(database)
    await directory.ensure(TENANT)
    await directory.change(Tenant(id=TENANT, max_queued=None))
    await database.close()


def new_task(*, tenant_id: str = TENANT) -> Task:
    """Return a task as an accepted submission makes it."""
    return Task(
        id=secrets.token_hex(16),
        tenant_id=tenant_id,
        model="uno",
        dialect="wavespeed",
        notes={},
        sinks=("files",),
        created_at=utc_now(),
    )


def new_request(reference: str) -> GenerationRequest:
    """Return the request that ``submission`` asks for."""
    return GenerationRequest(
        model="uno",
        prompt=PROMPT,
        references=(Reference(role=Role.SUBJECT, source=reference),),
        width=1024,
        height=1024,
        num_inference_steps=28,
        guidance_scale=3.5,
        seed=7,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTarget:
    """The task store, called without any HTTP: the least a durable submission can cost."""

    #: An open store.
    store: TaskStore
    #: What it is called in tables.
    name: str = "store alone"
    #: The task whose row is read.
    task: Task = field(default_factory=new_task)

    @asynccontextmanager
    async def clients(self, operation: Operation) -> AsyncIterator[Sequence[Client]]:
        """Return the operation's clients."""
        request = new_request(operation.reference or SMALL_REFERENCE)
        await self._keep_task_to_read()

        async def insert() -> None:
            await self.store.accept(new_task(), request)

        async def read() -> None:
            await self.store.read(self.task.id, tenant_id=self.task.tenant_id)

        yield [insert if operation.reference else read] * operation.clients

    def cpu(self) -> CpuTimes:
        """Return nothing: what it uses is this process's own time."""
        return {}

    async def _keep_task_to_read(self) -> None:
        if await self.store.read(self.task.id, tenant_id=self.task.tenant_id) is None:
            await self.store.accept(self.task, new_request(SMALL_REFERENCE))


async def idle_cores(targets: Sequence[Target], *, seconds: float) -> dict[str, float]:
    """Return the CPU seconds per second that each target uses while nobody calls."""
    before = [target.cpu() for target in targets]
    await asyncio.sleep(seconds)
    return {
        target.name: round(spent_s(earlier, target.cpu()) / seconds, 4)
        for target, earlier in zip(targets, before, strict=True)
    }
