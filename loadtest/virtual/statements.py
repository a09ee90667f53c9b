"""What a fleet asks of its store in a second: transactions counted on the virtual clock, statements on a real store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine, event

from deployments.database.database import open_database
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Beat, Success
from deployments.tenants.directory import TenantDirectory
from loadtest.targets import SMALL_REFERENCE, TENANT, new_request, new_task
from loadtest.virtual.lived import Lived, Setting

#: Looks for cancelled tasks, per second of a replica that holds any, where the store changes all the time.
#: Source: ``deployments.replica.replica``, LOOK_EVERY_S.
LOOKS_PER_S = 4.0
#: Claims in vain, per second of a replica that waits for work, where the store changes all the time: a round trip each.
#: Source: docs/benchmarks/store.md, waking up, on PostgreSQL.
VAIN_PER_S = 75.0


def asked_per_s(lived: Lived, setting: Setting) -> dict[str, float]:
    """Return transactions of every kind in a second; what idle replicas do in vain stands beside them, for it bends."""
    beat_s = setting.lease_s / 4
    idle_s = max(lived.up_s - lived.holding_s, 0.0)
    counted = {name: lived.asked[name] for name in ("accept", "claim", "finish", "cancel", "release")}
    spread = {
        "beat": lived.holding_s / beat_s,
        "look": lived.holding_s * LOOKS_PER_S,
        "claim in vain": idle_s * VAIN_PER_S,
    }
    return {name: round(number / lived.span_s, 1) for name, number in {**counted, **spread}.items()}


def statements_of_each() -> Mapping[str, int]:
    """Count the statements of one call of each kind, on a store in a file that is thrown away."""
    with TemporaryDirectory() as folder:
        return asyncio.run(_counted_in(f"sqlite:///{Path(folder) / 'count.db'}"))


async def _counted_in(url: str) -> Mapping[str, int]:
    database = await open_database(url)
    try:
        await TenantDirectory(database).ensure(TENANT)
        return await _counted(TaskStore(database))
    finally:
        await database.close()


async def _counted(store: TaskStore) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    with _counting(found, "claim in vain"):
        await store.claim(models=["uno"], limit=1, replica_id="r", lease_s=60)
    task = new_task()
    with _counting(found, "accept"):
        await store.accept(task, new_request(SMALL_REFERENCE))
    with _counting(found, "claim"):
        [claim] = await store.claim(models=["uno"], limit=1, replica_id="r", lease_s=60)
    task = claim.task
    with _counting(found, "look"):
        await store.still_claimed({task.id: task.fence})
    with _counting(found, "beat"):
        await store.beat([Beat(task_id=task.id, fence=task.fence, steps_done=1)], lease_s=60)
    with _counting(found, "finish"):
        await store.succeed(task.id, fence=task.fence, success=Success(outputs=(), inference_ms=1))
    return dict(found)


@contextmanager
def _counting(found: Counter[str], name: str) -> Iterator[None]:
    def count(*_what: object) -> None:
        found[name] += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", count)
