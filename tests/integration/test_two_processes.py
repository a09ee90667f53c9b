"""Several operating-system processes on one database: nothing is lost, nothing is done twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from deployments.tasks.store import Rescued, TaskStore
from deployments.tasks.task import Task
from models.request import GenerationRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]

CLAIMER = Path(__file__).with_name("claimer.py")
#: How often the process that is killed may claim: not so often that nothing would be left.
ROUNDS = 30


class Claimer:
    """A claiming process as its test sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._in: IO[str] = process.stdin
        self.out: IO[str] = process.stdout

    def go(self, *, rounds: int = 1) -> None:
        """Let it claim so often."""
        self._in.write(rounds * "go\n")
        self._in.flush()

    def go_on(self) -> None:
        """Let it claim until nothing is left."""
        self._in.close()

    def claimed(self) -> list[str]:
        """Read the ids it has claimed, until it ends."""
        return self.out.read().split()


@contextmanager
def claimer(url: str, *, replica_id: str, lease_s: float) -> Iterator[Claimer]:
    """Start a claiming process, and see to it that it ends."""
    command = [sys.executable, str(CLAIMER), url, replica_id, str(lease_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Claimer(process)
        finally:
            process.kill()


async def insert_many(store: TaskStore, tasks: list[Task], request: GenerationRequest) -> None:
    """Insert some tasks that all wish for the same."""
    for task in tasks:
        await store.accept(task, request)


async def test_two_processes_claim_each_task_once(
    database_url: str, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Of 200 tasks that two processes claim at the same time, each is claimed exactly once, and both get some."""
    tasks = [make_task() for _ in range(200)]
    await insert_many(store, tasks, make_request())

    with ExitStack() as running:
        claimers = [running.enter_context(claimer(database_url, replica_id=name, lease_s=60)) for name in ("a", "b")]
        assert [each.out.readline() for each in claimers] == ["ready\n"] * 2
        for each in claimers:
            each.go()
        first = [each.out.readline().strip() for each in claimers]  # both have some, before either may have all
        for each in claimers:
            each.go_on()
        claimed = [each.claimed() for each in claimers]

    assert all(first)
    assert sorted(first + claimed[0] + claimed[1]) == [task.id for task in tasks]


async def test_what_a_killed_process_held_is_rescued(
    database_url: str, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A process killed in the middle of claiming loses nothing: all it held is claimed again after rescue."""
    tasks = [make_task() for _ in range(200)]
    await insert_many(store, tasks, make_request())
    with claimer(database_url, replica_id="a", lease_s=-1) as killed:
        killed.out.readline()
        killed.go(rounds=ROUNDS)
        killed.out.readline()  # it is claiming now
        killed.process.kill()
        told = killed.claimed()

    rescued = await store.rescue()

    assert len(told) < rescued.requeued <= 3 * ROUNDS
    claims = await store.claim(models=["uno"], limit=300, replica_id="b", lease_s=60)
    assert [claim.task.id for claim in claims] == [task.id for task in tasks]
    assert sum(claim.task.attempt == 2 for claim in claims) == rescued.requeued
    assert await store.rescue() == Rescued(requeued=0, quarantined=0)


def test_processes_that_open_a_fresh_file_at_once_all_open(sqlite_url: str) -> None:
    """Four processes that all find no database make one together, and each of them ends well."""
    with ExitStack() as running:
        claimers = [running.enter_context(claimer(sqlite_url, replica_id="a", lease_s=60)) for _ in range(4)]
        for each in claimers:
            each.go()
        answers = [each.claimed() for each in claimers]
        codes = [each.process.wait() for each in claimers]

    assert answers == [["ready"]] * 4
    assert codes == [0] * 4
