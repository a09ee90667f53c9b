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
from deployments.replica.eagerness import MOST_S, STEP_S
from deployments.replica.replica import LOOK_EVERY_S
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Beat, Success
from deployments.tenants.directory import TenantDirectory
from loadtest.targets import SMALL_REFERENCE, TENANT, new_request, new_task
from loadtest.virtual.lived import Lived, Setting

#: Seconds from a change to the answer of an idle replica that asks at once: the signal, and a round trip.
#: Source: docs/benchmarks/store.md, waking up, on PostgreSQL.
TRIP_S = 0.013


def asked_per_s(lived: Lived, setting: Setting) -> dict[str, float]:
    """Return transactions of every kind in a second; what idle replicas do in vain stands beside them, for it bends."""
    beat_s = setting.lease_s / 4
    counted = {name: lived.asked[name] for name in ("accept", "claim", "finish", "cancel", "release")}
    # The store changes all the time, so everybody looks as often as may be.
    spread = {"beat": lived.holding_s / beat_s, "look": lived.holding_s / LOOK_EVERY_S}
    changes = sum(counted[name] for name in ("accept", "finish", "cancel", "release"))
    idle = max(lived.up_s - lived.holding_s, 0.0) / lived.span_s
    asked = {name: number / lived.span_s for name, number in {**counted, **spread}.items()}
    asked["claim in vain"] = in_vain_per_s(idle, changes_per_s=changes / lived.span_s)
    return {name: round(number, 1) for name, number in asked.items()}


def in_vain_per_s(idle: float, *, changes_per_s: float) -> float:
    """Return how often idle replicas ask in vain, all together, in a second.

    Each is in vain about twice for every other one that is idle, for accepts and ends wake it, and one of all finds
    the work. See ``deployments.replica.eagerness``.
    """
    pause_s = min(2 * idle * STEP_S, MOST_S) / 2
    return idle * min(changes_per_s, 1 / (pause_s + TRIP_S))


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
