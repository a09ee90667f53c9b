"""A Ray Serve server in a process of its own, with its own Ray, for as long as a benchmark needs it.

    serving ──► python -m loadtest.server CONFIG PORT ──► deployments.local.running

The child serves until its standard input ends, so it ends with its parent whatever becomes of that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.haproxy import BINARY_PATH
from deployments.local import read_config, running
from deployments.terminal import interruptible
from loadtest.stopping import stop

#: What the child says once it serves.
READY = "ready"
#: Seconds in which a server stops by itself.
STOP_S = 60.0
#: Ports of one server: the first for callers, the next four for HAProxy's own needs, the rest for replicas.
PORTS_PER_SERVER = 60


class ServerFailed(Exception):
    """A server did not come up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to run one server."""

    #: What it is called in tables and in its files' names.
    name: str
    #: The content of its Serve config file.
    config: Mapping[str, Any]
    #: Where it listens; the ``PORTS_PER_SERVER`` from here on are its own.
    port: int
    #: Whether HAProxy stands in front of the replicas, instead of Serve's own proxy.
    has_haproxy: bool
    #: Where its files go; on the disk that is to be measured.
    folder: Path
    #: Where HAProxy's files go. Ray adds 57 characters of its own, and a socket's path has at most 97.
    sockets: Path
    #: More environment variables.
    environment: Mapping[str, str]


@contextmanager
def serving(plan: Plan) -> Iterator[int]:
    """Run a server for the length of a ``with`` block, and yield the id of its process.

    Raises:
        ServerFailed: with the end of what it said.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    config = plan.folder / "serve.json"
    config.write_text(json.dumps(plan.config), encoding="utf-8")
    log = plan.folder / "server.log"
    with log.open("wb") as complaints:
        process = subprocess.Popen(  # noqa: S603 -- this interpreter and this file
            [sys.executable, "-m", "loadtest.server", str(config), str(plan.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=os.environ | environment_of(plan),  # noqa: TID251 -- handed to a child, not read
            start_new_session=True,  # Ctrl-C is the parent's; the child hears of it by its standard input
        )
    try:
        _wait_until_ready(process, log)
        yield process.pid
    finally:
        stop(process, patience_s=STOP_S)


def environment_of(plan: Plan) -> dict[str, str]:
    """Return what tells Ray, HAProxy and ours apart from every other server on this machine."""
    return {
        **plan.environment,
        "UXO_FOLDER": str(plan.folder),
        "RAY_SERVE_ENABLE_HA_PROXY": "1" if plan.has_haproxy else "0",
        **haproxy_environment(plan.port, plan.sockets),
        # Nobody calls any more when a benchmark stops; otherwise each replica would wait for 30 s.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
    }


def haproxy_environment(port: int, sockets: Path) -> dict[str, str]:
    """Return what keeps one HAProxy apart from every other on this machine; it has the ports below ``port`` + 60."""
    return {
        BINARY_PATH: str(Path(sys.executable).with_name("uxo-haproxy")),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(sockets / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(sockets / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(sockets),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(sockets / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(port + 1),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(port + 2),
        # Where HAProxy sends calls while no replica is up. Two clusters with the same port answer each other's calls.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(port + 3),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(port + 4),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(port + 20),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(port + 39),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(port + 40),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(port + 59),
    }


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    for line in process.stdout or ():
        if line.strip() == READY.encode():
            return
    raise ServerFailed(log.read_text(encoding="utf-8", errors="replace")[-2000:])


def main() -> None:
    """Serve what a config file says until standard input ends."""
    path, port = Path(sys.argv[1]), int(sys.argv[2])
    serving_it = running(path, host="127.0.0.1", port=port, report=lambda _news: None, check=any_application)
    with interruptible(), serving_it:
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()


def any_application(_config: dict[str, Any], _path: Path) -> None:
    """Let a Serve config name whatever application a benchmark needs; Serve itself still checks the rest."""


def our_config(path: Path) -> dict[str, Any]:
    """Return a Serve config file without the deployments that carry out tasks, so that every task stays queued."""
    config = read_config(path, host="127.0.0.1", port=0)
    application = config["applications"][0]
    kept = [each for each in application["deployments"] if each["name"] in {"ingress", "housekeeper"}]
    return config | {"applications": [application | {"args": {"replicas": {}}, "deployments": kept}]}


def echo_config(path: Path) -> dict[str, Any]:
    """Return the same file with the echo as its only application."""
    config = read_config(path, host="127.0.0.1", port=0)
    return config | {"applications": [{"name": "echo", "route_prefix": "/", "import_path": "loadtest.echo:build"}]}


if __name__ == "__main__":
    main()
