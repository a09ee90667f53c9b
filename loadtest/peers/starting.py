"""Starts one server of the comparison in a process of its own, and ends all of its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployments.local import read_config
from loadtest import server
from loadtest.peers.environment import environment_of, last_line
from loadtest.peers.peer import KEY, TENANT, OnRay, OwnEnvironment, Peer
from loadtest.peers.servers.fake_model import LOG_VARIABLE
from loadtest.stopping import stop

#: This source.
ROOT = Path(__file__).parents[2]
#: Seconds in which a server ends by itself.
STOP_S = 40.0


class ServerEnded(Exception):
    """A server ended by itself; the message says in one line what it said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a server runs."""

    #: Where it listens; one that HAProxy stands before has the ``server.PORTS_PER_SERVER`` from there on.
    port: int
    #: Where its files go.
    folder: Path
    #: Where HAProxy's sockets go, whose paths have to be short.
    sockets: Path
    #: Where environments of their own are.
    environments: Path

    @property
    def log(self) -> Path:
        """Return where the server's words go."""
        return self.folder / "server.log"

    @property
    def calls(self) -> Path:
        """Return where the fake model notes the size of every call."""
        return self.folder / "calls.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that was started."""

    #: Its first process.
    process: subprocess.Popen[bytes]
    #: Where it runs.
    site: Site

    def check(self) -> None:
        """Make sure that it has not ended.

        Raises:
            ServerEnded: when it has.
        """
        if self.process.poll() is not None:
            said = last_line(self.site.log.read_text(encoding="utf-8", errors="replace"))
            raise ServerEnded(f"it ended with {self.process.returncode}: {said}")


@contextmanager
def started(peer: Peer, site: Site) -> Iterator[Running]:
    """Start a server for the length of a ``with`` block; whether it answers yet is for the caller to find out.

    Raises:
        CannotInstall: when it has to be installed and cannot be.
    """
    site.folder.mkdir(parents=True, exist_ok=True)
    command, environment = command_of(peer.start, site)
    with site.log.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 -- a command of ours
            command,
            cwd=site.folder,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | environment | {"PYTHONPATH": str(ROOT), LOG_VARIABLE: str(site.calls)},  # noqa: TID251 -- handed to a child, not read
            start_new_session=True,  # Ctrl-C is the parent's
        )
    try:
        yield Running(process=process, site=site)
    finally:
        if isinstance(peer.start, OwnEnvironment):
            process.terminate()  # those on Ray wait for the end of their standard input
        stop(process, patience_s=STOP_S)


def command_of(start: OwnEnvironment | OnRay, site: Site) -> tuple[Sequence[str], Mapping[str, str]]:
    """Return what starts a server, and its environment variables; install it first where that is needed.

    Raises:
        CannotInstall: when that cannot be done.
    """
    if isinstance(start, OnRay):
        return _ray_command(start, site)
    programs = environment_of(start.pins, site.environments) / "bin"
    program, *arguments = [word.format(port=site.port, root=ROOT) for word in start.command]
    asked = {name: value.format(port=site.port, root=ROOT) for name, value in start.environment.items()}
    # Cog starts whichever Python comes first.
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"  # noqa: TID251 -- as above
    return [str(programs / program), *arguments], {"PATH": path} | asked


def _ray_command(start: OnRay, site: Site) -> tuple[Sequence[str], Mapping[str, str]]:
    config = read_config(ROOT / "serve_config.yaml", host="127.0.0.1", port=site.port)
    application = {"name": "peers", "route_prefix": "/", "import_path": start.import_path}
    path = site.folder / "serve.json"
    path.write_text(json.dumps(config | {"applications": [application]}), encoding="utf-8")
    plan = server.Plan(
        name=start.import_path,
        config=config,
        port=site.port,
        has_haproxy=start.has_haproxy,
        folder=site.folder,
        sockets=site.sockets,
        environment={"UXO_BOOTSTRAP_KEYS": f"{TENANT}:{KEY}", "UXO_METRICS_PORT": "0"},
    )
    return [sys.executable, "-m", "loadtest.server", str(path), str(site.port)], server.environment_of(plan)
