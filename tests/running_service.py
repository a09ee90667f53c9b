"""The service as a subprocess, started as a user starts it."""

from __future__ import annotations

import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
import yaml
from free_ports import free_ports

ROOT = Path(__file__).parents[1]
#: Seconds until a start is called failed; two cores shared with other work need most of a minute.
START_S = 240
#: Seconds until a stop is called failed; then all that is left is killed.
END_S = 60
#: Seconds for a test that runs the service once: more than its start, its work and its stop may take together.
RUN_S = 3 * START_S
#: Seconds that a call may take where the service fills both cores.
CALL_S = 120
#: What nohup ignores its children ignore; this starts a program that heeds a closed terminal even then.
HEEDING_HANGUPS = ("env", "--default-signal=HUP")
ALICE = "key-of-alice-0123456789"
BOB = "key-of-bob-0123456789"


class Served(Protocol):
    """A service that answers, wherever it runs."""

    @property
    def base_url(self) -> str:
        """Return the start of every address of it."""

    def states(self, dialect: str, *, noted: str = "", task_id: str = "") -> Sequence[str]:
        """Return the states of a dialect's tasks, those in whose notes stands ``noted``, or the one of an id."""


def client_of(service: Served, key: str = ALICE) -> httpx.Client:
    """Return an HTTP client that shows a key."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=service.base_url, headers=headers, timeout=CALL_S, trust_env=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service."""

    base_url: str
    folder: Path
    process: psutil.Process
    metrics_port: int

    def client(self, key: str = ALICE) -> httpx.Client:
        """Return an HTTP client that shows a key."""
        return client_of(self, key)

    def metrics(self) -> str:
        """Read what all processes of the service have measured."""
        return httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=CALL_S, trust_env=False).text

    def row(self, task_id: str) -> dict[str, Any]:
        """Return a task as the database has it."""
        with sqlite3.connect(self.folder / "uxo.db") as connection:
            connection.row_factory = sqlite3.Row
            return dict(connection.execute("select * from tasks where id = ?", [task_id]).fetchone())

    def states(self, dialect: str, *, noted: str = "", task_id: str = "") -> Sequence[str]:
        """Return the states of a dialect's tasks, those in whose notes stands ``noted``, or the one of an id."""
        query = "select state from tasks where dialect = ? and notes like ? and id like ?"
        with closing(sqlite3.connect(self.folder / "uxo.db")) as database:
            found = database.execute(query, [dialect, f"%{noted}%", task_id or "%"]).fetchall()
        return [state for (state,) in found]

    def replica(self, name: str) -> psutil.Process:
        """Return the process of a replica."""
        [found] = [child for child in self.process.children(recursive=True) if self._is_replica(child, name)]
        return found

    @staticmethod
    def _is_replica(process: psutil.Process, name: str) -> bool:
        try:
            return f"ServeReplica:uxo:{name}" in " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            return False


def free_port() -> int:
    """Return a port that nobody holds."""
    [port] = free_ports(1)
    return port


def one_replica(folder: Path, **fields: Any) -> str:
    """Write a Serve config with one replica for both models, and return its path.

    A service that is started for the sake of its start, or its stop, then loads PyTorch once and not twice.
    """
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8")) | fields
    [application] = config["applications"]
    application["args"]["replicas"] = {"both": ["uno", "uso"]}
    application["deployments"] = [{"name": name, "num_replicas": 1} for name in ("ingress", "housekeeper", "both")]
    path = folder / "one_replica.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


@contextmanager
def uxo_run(
    folder: Path, *, config: str = str(ROOT / "serve_config.yaml"), **environment: str
) -> Iterator[tuple[subprocess.Popen[str], queue.Queue[str]]]:
    """Run ``uxo run`` for the length of a block; yields the process and the lines it prints."""
    process = subprocess.Popen(
        [
            *HEEDING_HANGUPS,
            str(Path(sys.executable).with_name("uxo")),
            "run",
            "--no-first-light",
            "--config",
            config,
        ],
        cwd=ROOT,
        env={**os.environ, "UXO_METRICS_PORT": "0", "UXO_FOLDER": str(folder), **environment},  # noqa: TID251 -- handed on, not read
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    reader = threading.Thread(target=read_all, args=[process.stdout, lines])
    reader.start()
    with ExitStack() as ending:
        ending.callback(process.stdout.close)
        ending.callback(reader.join, timeout=10)
        ending.callback(end, process)
        yield process, lines


def end(process: subprocess.Popen[str]) -> None:
    """Ask a service to stop; one that does not is killed with all that it has started, and is a failure."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=END_S)
    except subprocess.TimeoutExpired:
        kill_tree(process)
        raise


def kill_tree(process: subprocess.Popen[str]) -> None:
    """Kill a process and all that it has started."""
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for each in started:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def read_all(stream: Iterable[str], lines: queue.Queue[str]) -> None:
    """Move every line of a stream into a queue, and an empty text when there are no more."""
    for line in stream:
        lines.put(line)
    lines.put("")


def wait_for(lines: queue.Queue[str], text: str) -> list[str]:
    """Read lines until one holds ``text``, for as long as a start may take; return them all."""
    latest, said = time.monotonic() + START_S, list[str]()
    while not said or text not in said[-1]:
        said.append(lines.get(timeout=max(0, latest - time.monotonic())))
        assert said[-1], f"it ended without saying {text!r}: {''.join(said)}"
    return said
