"""A process that claims, run by test_two_processes.py: ``python claimer.py URL REPLICA LEASE_S``.

Prints ``ready`` once its store is open, then each claimed id on its own line, and ends when nothing waits any more. It
claims three for each line that comes in, and goes on by itself once no line can come any more.
"""

from __future__ import annotations

import asyncio
import sys

from deployments.tasks.store import TaskStore


async def claim_until_empty(url: str, replica_id: str, lease_s: float) -> None:
    """Claim three at a time, when it is told to."""
    store = await TaskStore.open(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    while claims := await store.claim(models=["uno"], limit=3, replica_id=replica_id, lease_s=lease_s):
        sys.stdout.writelines(f"{claim.task.id}\n" for claim in claims)
        sys.stdout.flush()
        sys.stdin.readline()
    await store.close()


if __name__ == "__main__":
    asyncio.run(claim_until_empty(sys.argv[1], sys.argv[2], float(sys.argv[3])))
