"""One process of a node answers ``/metrics`` for all of them; when it dies, another does.

    every process ──► its own files in the node's folder, and a lock that says that it lives
    one of them, whoever has the turn ──► answers with what all files say together

Locks are the kernel's and end with their process, however that ends, so nobody has to be asked who is there. The folder
is emptied by the first process that finds nobody in it: counters begin anew with a new start, and not before.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import structlog
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from deployments.errors import UxoError
from deployments.telemetry.instruments import write_to

log = structlog.get_logger()

#: Seconds between two attempts at a port that somebody else has.
RETRY_S = 5.0
#: Seconds that one waits at the door; whoever stands there needs milliseconds, unless it was stopped just then.
PATIENCE_S = 5.0
#: Seconds between two looks at the door.
LOOK_S = 0.02

_KIB = 1024
#: Bytes of each file that a process writes, by the beginning of its name. The library maps what it finds and lets it
#: grow only when that is full; every label there can be, with 14 statuses for every route, takes 216 KiB of counters,
#: 407 KiB of histograms and 3 KiB of gauges.
_ROOM_BYTES = {
    "counter": 512 * _KIB,
    "histogram": 512 * _KIB,
    "gauge_livesum": 64 * _KIB,
    "gauge_livemax": 64 * _KIB,
}

#: The locks by which others see that this process lives, by folder; they must stay open.
_signs_of_life: dict[Path, IO[str]] = {}


class FolderRefused(UxoError):
    """The folder for metrics is somebody else's."""


def folder_of(service: Path, port: int) -> Path:
    """Return where the processes of one service on this node write.

    On the node's own disk and not in the service's folder, which may be a network's: mapped files need to be near.

    Args:
        service: the service's folder.
        port: that its metrics are read at.
    """
    said = f"{socket.gethostname()}\n{service.resolve()}\n{port}"
    digest = hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"uxo-metrics-{os.getuid()}-{digest}"


def join_node(folder: Path, *, host: str, port: int) -> None:
    """Write this process's metrics beside those of the others, and answer for all of them when it is its turn.

    A node whose folder or port cannot be used has no metrics, says so in the log, and works all the same.

    Args:
        folder: where all of them write.
        host: address to answer at.
        port: TCP port to answer at; 0 means that nobody answers and nothing is written.
    """
    if not port or folder in _signs_of_life:
        return
    try:
        enter(folder)
    except (OSError, FolderRefused) as error:
        log.warning("metrics_not_written", folder=str(folder), reason=str(error))
        return
    waiting = threading.Thread(target=_answer_in_turn, args=(folder, host, port), name="metrics", daemon=True)
    waiting.start()


def enter(folder: Path, *, patience_s: float = PATIENCE_S) -> None:
    """Make this process's place in the folder.

    Args:
        folder: where all of them write.
        patience_s: seconds that it waits while somebody else stands at the door.

    Raises:
        OSError: when it cannot be written to, the disk has no room, or nobody makes way at the door.
        FolderRefused: when it is another user's, who could make us write elsewhere.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise FolderRefused
    with _at_the_door(folder, patience_s):
        forget_the_dead(folder)
        if not list(folder.glob("*.alive")):
            for old in folder.glob("*.db"):
                old.unlink()
        _make_room(folder)
        sign = (folder / f"{os.getpid()}.alive").open("w", encoding="utf-8")
        fcntl.flock(sign, fcntl.LOCK_EX)
    _signs_of_life[folder] = sign
    write_to(folder)


def _make_room(folder: Path) -> None:
    """Have the disk set aside all that this process will write; whoever had its number before may have left files.

    A file that is mapped before it has its blocks gets them by being written to, and where there are none left the
    kernel ends whoever writes.
    """
    with ExitStack() as undoing:
        for name, size_bytes in _ROOM_BYTES.items():
            path = folder / f"{name}_{os.getpid()}.db"
            if not path.exists():
                undoing.callback(path.unlink, missing_ok=True)  # an empty one would break every scrape
            with path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, size_bytes)
        undoing.pop_all()


def forget_the_dead(folder: Path) -> None:
    """Remove what dead processes said of the present; what they counted stays. Whoever calls stands at the door."""
    for path in folder.glob("*.alive"):
        if path in {Path(sign.name) for sign in _signs_of_life.values()}:
            continue
        with path.open("w", encoding="utf-8") as sign, suppress(BlockingIOError):
            fcntl.flock(sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mark_process_dead(path.stem, str(folder))  # type: ignore[no-untyped-call]  # the library says none
            path.unlink()


@contextmanager
def _at_the_door(folder: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Keep others from coming and from being declared dead for the length of a block."""
    deadline_s = time.monotonic() + patience_s
    with (folder / "door").open("w", encoding="utf-8") as door:
        while not _is_ours(door):
            if time.monotonic() > deadline_s:
                raise TimeoutError(errno.ETIMEDOUT, "another process stands at the door and does not move", door.name)
            time.sleep(LOOK_S)
        yield


def _is_ours(door: IO[str]) -> bool:
    """Take the lock, unless another process has it."""
    with suppress(BlockingIOError):
        fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _answer_in_turn(folder: Path, host: str, port: int) -> None:
    """Wait until no other process of this node answers, which may be for ever; then answer until this one ends."""
    with (folder / "turn").open("w", encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        registry = CollectorRegistry()
        registry.register(_Node(folder))
        answering = _listen(registry, host, port)
        log.info("metrics_answered", host=host, port=port)
        answering.join()


def _listen(registry: CollectorRegistry, host: str, port: int) -> threading.Thread:
    is_told = False
    while True:
        try:
            _, thread = start_http_server(port, host, registry)
        except OSError as error:
            if not is_told:
                log.warning("metrics_port_taken", host=host, port=port, reason=error.strerror)
            is_told = True
            time.sleep(RETRY_S)
        else:
            return thread


class _Node(Collector):
    """What all processes of a node say together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        with _at_the_door(self._folder):
            forget_the_dead(self._folder)
            files: Any = MultiProcessCollector
            return list(files(None, str(self._folder)).collect())
