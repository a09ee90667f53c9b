"""Several processes of a node, and one address at which what they measured is read."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from running_service import free_port

from deployments.telemetry.exposition import FolderRefused, enter, folder_of

SCRIPT = Path(__file__).parents[1] / "metered_process.py"
#: Seconds until what must come has come.
PATIENCE_S = 30


class Node:
    """Processes that share a folder and a port."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self.folder, self._stack = folder, stack
        self.log = folder.with_suffix(".log")

    def start(self, *before: str) -> subprocess.Popen[str]:
        """Start one more process, by the command that is put before it, and return once it has joined."""
        command = [*before, sys.executable, str(SCRIPT), str(self.folder), str(self.port)]
        logged = self._stack.enter_context(self.log.open("a", encoding="utf-8"))
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=logged, text=True)
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "joined\n"
        return process

    def scrape(self, *expected: str) -> list[str]:
        """Read the metrics again and again, until these lines are among them."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                lines = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text.splitlines()
            except httpx.TransportError:
                lines = []
            if set(expected) <= set(lines):
                return lines
            assert time.monotonic() < deadline, lines


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[[], Node]]:
    """Return what makes nodes on one folder."""
    with ExitStack() as stack:
        yield lambda: Node(tmp_path / "metrics", stack)


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Have a process note something."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "noted\n"


def test_a_node_answers_for_all_its_processes_and_outlives_each(start_node: Callable[[], Node]) -> None:
    """What two processes say is read as one; the one that answered dies, its counts stay, its gauges go."""
    node = start_node()
    first = node.start()
    node.scrape()
    second = node.start()
    for process, samples in ((first, "3"), (second, "4")):
        tell(process, "count")
        tell(process, samples)
    counted = 'uxo_webhooks_total{outcome="delivered"}'
    node.scrape(f"{counted} 2.0", "uxo_resident_samples 7.0")

    first.kill()
    first.wait()

    node.scrape(f"{counted} 2.0", "uxo_resident_samples 4.0")


def test_a_new_start_counts_anew(start_node: Callable[[], Node]) -> None:
    """Once every process of a node has gone, the next one finds nothing of theirs."""
    old = start_node().start()
    tell(old, "count")
    old.kill()
    old.wait()
    node = start_node()

    tell(node.start(), "count")

    node.scrape('uxo_webhooks_total{outcome="delivered"} 1.0')


def test_whatever_a_process_writes_has_its_blocks_when_it_joins(start_node: Callable[[], Node]) -> None:
    """Every byte of its files is the disk's before the first value, so that none is missing once the disk is full."""
    node = start_node()
    node.start()

    set_aside = [path.stat().st_blocks * 512 for path in node.folder.glob("*.db")]

    assert len(set_aside) == 4
    assert min(set_aside) >= 64 * 1024


def test_a_process_without_room_works_on_without_metrics(start_node: Callable[[], Node]) -> None:
    """Where the disk has too little room for its files it leaves none behind, and what it notes is read nowhere."""
    node = start_node()
    process = node.start("prlimit", f"--fsize={100 * 1024}")

    tell(process, "count")

    assert list(node.folder.glob("*.db")) == []


def test_what_cannot_be_written_is_dropped_and_told_once(start_node: Callable[[], Node]) -> None:
    """A process whose folder somebody has taken away works on, and its log says so with the first value alone."""
    node = start_node()
    process = node.start()
    node.folder.rename(node.folder.with_name("gone"))

    for line in ("count", "3", "count"):
        tell(process, line)

    assert node.log.read_text(encoding="utf-8").count("metrics_dropped") == 1


def test_a_door_that_stays_shut_is_waited_at_for_a_while(tmp_path: Path) -> None:
    """A process that was stopped while it read the files of all keeps no other from starting."""
    with (tmp_path / "door").open("w", encoding="utf-8") as door:
        fcntl.flock(door, fcntl.LOCK_EX)

        with pytest.raises(TimeoutError, match="door"):
            enter(tmp_path, patience_s=0)


def test_a_strangers_folder_is_refused(tmp_path: Path) -> None:
    """A link that somebody has laid where the folder should be is not followed."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "metrics").symlink_to(tmp_path / "mine")

    with pytest.raises(FolderRefused):
        enter(tmp_path / "metrics")


def test_each_service_of_a_machine_has_its_own(tmp_path: Path) -> None:
    """Two services whose folders or ports differ write to different places; one always writes to the same."""
    folders = [folder_of(tmp_path / name, port) for name, port in (("a", 1), ("a", 2), ("b", 1), ("a", 1))]

    assert len(set(folders)) == 3
    assert folders[0] == folders[3]
