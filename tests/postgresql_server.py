"""A private PostgreSQL server for tests, benchmarks and chaos: a cluster of its own in a folder of its own.

    this process ──► server      which would live on, were this process killed
          └────────► watch       waits at a pipe for the end of this process, and ends what is left

Needs the server's binaries, which are found where Debian puts them. A server refuses to run as root, so root runs it as
the user ``postgres``. Knows no table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Literal

import psutil
from free_ports import free_ports
from missing_service import give_up

#: How a missing server is got, for people to read.
HOW_TO_GET = "PostgreSQL's server is not installed; apt-get install postgresql"
#: How long a server may take to start or stop, in seconds.
PATIENCE_S = 60

_SETTINGS = {"listen_addresses": "127.0.0.1", "max_connections": "300", "shared_buffers": "64MB"}
# What a watch does. A signal at the death of the parent would not do: that means the thread, and threads end early.
_WATCH = 'read -r _; "$0" -D "$1/data" -m immediate -s stop; rm -rf "$1"'
_QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def binaries() -> Path | None:
    """Return the folder of the newest server on this machine; None when there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


def require_postgresql() -> None:
    """Skip the test that needs a server where there is none; where every service must be there, fail it."""
    if binaries() is None:
        give_up(HOW_TO_GET)


class PostgresServer:
    """A server that can be stopped, killed and started again; it keeps its port and what it stores.

    It does not outlive this process, however that ends.

    Args:
        durable: whether a commit survives the server's crash and the machine's; without it, only an orderly stop.
    """

    def __init__(self, *, durable: bool = False) -> None:
        found = binaries()
        if found is None:
            raise FileNotFoundError(HOW_TO_GET)
        self._bin = found
        self._folder = Path(tempfile.mkdtemp(prefix="uxo-postgresql-"))
        self._settings = _SETTINGS | ({} if durable else _QUICK)
        self._names = count(1)
        [self.port] = free_ports(1)
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        self._watch = self._begin_watch()
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "uxo", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")

    def start(self) -> None:
        """Start and return once connections are taken."""
        settings = [f"-c {name}={value}" for name, value in self._settings.items()]
        options = " ".join([f"-p {self.port}", f"-k {self._folder}", *settings])
        # Its own standard streams: what a server inherits it holds open, and a pipe of ours would never end.
        log = ["-l", str(self._folder / "log")]
        self._run("pg_ctl", "-D", self._data, "-w", "-s", "-t", str(PATIENCE_S), *log, "-o", options, "start")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and return once it is gone: ``fast`` ends every session, ``immediate`` is as good as a crash."""
        self._run("pg_ctl", "-D", self._data, "-w", "-s", "-t", str(PATIENCE_S), "-m", mode, "stop")

    def kill(self) -> None:
        """Kill it with every process it has, as a power cut would, and return once they are gone."""
        main = psutil.Process(self._main_process())
        # The main process first: it would start others in the place of those that are killed.
        doomed = [main, *main.children(recursive=True)]
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(doomed, timeout=PATIENCE_S)
        assert not alive

    def close(self) -> None:
        """End it if it runs, and leave nothing behind."""
        if self.is_running():
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._watch.kill()
        self._watch.communicate()

    def is_running(self) -> bool:
        """Whether its main process is there."""
        try:
            return psutil.pid_exists(self._main_process())
        except FileNotFoundError:
            return False

    def url(self, database: str = "postgres") -> str:
        """Write a database's address as settings do."""
        return f"postgresql+asyncpg://uxo@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str | None = None, *, template: str | None = None) -> str:
        """Make a database, as a copy of ``template`` if that is given, and return its name."""
        made = name or f"test_{next(self._names)}"
        self.run_sql(f'CREATE DATABASE "{made}"' + (f' TEMPLATE "{template}"' if template else ""))
        return made

    def drop_database(self, name: str) -> None:
        """Delete a database and end whoever still uses it."""
        self.run_sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def run_sql(self, sql: str, *, database: str = "postgres") -> str:
        """Run statements and return what they print, unaligned and without headings."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "uxo", "-d", database]
        return self._run("psql", *address, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _main_process(self) -> int:
        return int(Path(self._data, "postmaster.pid").read_text(encoding="ascii").split(maxsplit=1)[0])

    def _begin_watch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*_as_postgres(), "sh", "-c", _WATCH, str(self._bin / "pg_ctl"), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def _run(self, program: str, *arguments: str) -> str:
        command = [*_as_postgres(), str(self._bin / program), *arguments]
        ended = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise OSError(f"{program} failed: {ended.stderr or ended.stdout}")
        return ended.stdout


def _as_postgres() -> Sequence[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
