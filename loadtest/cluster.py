"""A Ray cluster of one node on this machine, with ports, token and folder of its own; ``serve deploy`` deploys there.

    clustered ──► sh ──► ray start --head --block      which ends when the pipe to this process does
    deploy    ──► serve deploy                         as an operator does it, with Ray's token

It stands for what the chart makes on Kubernetes: one node has what all pods of it would have.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from loadtest.server import haproxy_environment
from loadtest.stopping import stop

#: Ports of one cluster: the first for callers, then HAProxy's, Ray's own from ``RAY_PORTS`` on, the last for workers.
PORTS_PER_CLUSTER = 100
RAY_PORTS = {
    "port": 10,
    "dashboard-port": 11,
    "ray-client-server-port": 12,
    "dashboard-agent-listen-port": 13,
    "dashboard-agent-grpc-port": 14,
    "runtime-env-agent-port": 15,
    "metrics-export-port": 16,
    "object-manager-port": 17,
    "node-manager-port": 18,
    "min-worker-port": 60,
    "max-worker-port": 99,
}
#: What the node says it has: enough for two of each deployment that the chart makes by default.
NODE = {"num-cpus": "8", "num-gpus": "2", "resources": json.dumps({"gateway": 1, "group-flux": 2})}
#: Seconds in which a cluster starts, an update is done, and a cluster stops; two busy cores are slow.
START_S, UPDATE_S, STOP_S = 240.0, 800.0, 60.0
#: What a shell does: run the rest until its standard input ends, then tell it to end, and take its files away.
_WATCH = 'folder=$0; "$@" & read -r _; kill $!; wait; rm -rf "$folder"'


class ClusterFailed(Exception):
    """A cluster did not start, or does not run what it was told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A running cluster."""

    #: The first of its ports, where callers are answered.
    port: int
    #: Where its files are.
    folder: Path
    #: What its processes have in their environment.
    environment: Mapping[str, str]

    @property
    def base_url(self) -> str:
        """Return the start of every address of the service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dashboard(self) -> str:
        """Return where Ray is told what to run."""
        return f"http://127.0.0.1:{self.port + RAY_PORTS['dashboard-port']}"

    def migrate(self) -> None:
        """Bring its database up to date.

        Raises:
            ClusterFailed: with what ``uxo migrate`` says.
        """
        self._run("uxo", "migrate")

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Tell Ray Serve what to run, and return once it runs that and nothing older.

        Raises:
            ClusterFailed: with what Ray says.
        """
        before = set(self.replicas())
        self.tell(config)
        self._wait_for_others_than(before)

    def tell(self, config: Mapping[str, Any]) -> None:
        """Tell Ray Serve what to run, and wait for nothing.

        Raises:
            ClusterFailed: with what Ray says.
        """
        path = self.folder / "deployed.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")  # every JSON is YAML
        self._run("serve", "deploy", "--address", self.dashboard, str(path))

    def wait_until_staffed(self, deployment: str, *, replicas: int) -> None:
        """Return once a deployment has so many replicas and all of them run.

        Raises:
            ClusterFailed: when that takes too long.
        """
        until_s = time.monotonic() + UPDATE_S
        while (states := self._states(deployment)) != ["RUNNING"] * replicas:
            if time.monotonic() > until_s:
                raise ClusterFailed(f"{deployment} has {states}, and not {replicas} that run")
            time.sleep(0.2)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return what processes of the cluster have logged under a name."""
        logs = (self.folder / "session_latest" / "logs").glob("worker-*.err")
        lines = (line for log in logs for line in log.read_text(encoding="utf-8", errors="replace").splitlines())
        return [json.loads(line) for line in lines if line.startswith("{") and f'"event": "{event}"' in line]

    def _states(self, deployment: str) -> list[str] | None:
        """Return the states of a deployment's replicas; None while Serve is still to learn of it."""
        found = self._application().get("deployments", {}).get(deployment)
        return None if found is None else [each["state"] for each in found["replicas"]]

    def replicas(self) -> dict[str, str]:
        """Return the state of every replica by its id."""
        deployments = self._application().get("deployments", {}).values()
        return {each["replica_id"]: each["state"] for deployment in deployments for each in deployment["replicas"]}

    def _application(self) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        answer = httpx.get(f"{self.dashboard}/api/serve/applications/", headers=headers, timeout=60, trust_env=False)
        applications: Mapping[str, Mapping[str, Any]] = answer.raise_for_status().json()["applications"]
        return next(iter(applications.values()), {})

    def _wait_for_others_than(self, before: Collection[str]) -> None:
        until_s = time.monotonic() + UPDATE_S
        while not _runs_others(application := self._application(), before):
            if application.get("status") in {"DEPLOY_FAILED", "UNHEALTHY"} or time.monotonic() > until_s:
                raise ClusterFailed(f"{application.get('status')}: {application.get('message')}")
            time.sleep(0.5)

    def _run(self, program: str, *words: str) -> None:
        command = [str(Path(sys.executable).with_name(program)), *words]
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)  # noqa: S603 -- Ray's own program
        if ended.returncode:
            raise ClusterFailed(ended.stderr[-2000:])


def _runs_others(application: Mapping[str, Any], before: Collection[str]) -> bool:
    deployments = application.get("deployments", {}).values()
    replicas = [each for deployment in deployments for each in deployment["replicas"]]
    return (
        application.get("status") == "RUNNING"
        and len(replicas) == sum(deployment["target_num_replicas"] for deployment in deployments)
        and all(each["state"] == "RUNNING" and each["replica_id"] not in before for each in replicas)
    )


@contextmanager
def clustered(port: int, **environment: str) -> Iterator[Cluster]:
    """Run a cluster for the length of a ``with`` block; no process and no file of it is left.

    Args:
        port: the first of ``PORTS_PER_CLUSTER``.
        environment: more variables of every process in it.

    Raises:
        ClusterFailed: when it does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="uxo-ray-"))  # short: the path of a socket has at most 107 characters
    cluster = Cluster(port=port, folder=folder, environment=_environment(port, folder) | environment)
    with (folder / "ray.log").open("wb") as log:
        watch = subprocess.Popen(  # noqa: S603 -- the shell of this machine, and Ray
            ["sh", "-c", _WATCH, str(folder), *_start_command(port, folder)],  # noqa: S607 -- as above
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=cluster.environment,
            start_new_session=True,  # Ctrl-C is the parent's
        )
    try:
        _wait_until_started(cluster)
        yield cluster
    finally:
        stop(watch, patience_s=STOP_S)


def _environment(port: int, folder: Path) -> dict[str, str]:
    return {
        **os.environ,  # noqa: TID251 -- handed to children, not read
        **haproxy_environment(port, folder),
        "UXO_FOLDER": str(folder / "var"),
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # else whatever else runs here goes first
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


def _start_command(port: int, folder: Path) -> list[str]:
    options = {
        **{name: str(port + offset) for name, offset in RAY_PORTS.items()},
        **NODE,
        "node-ip-address": "127.0.0.1",
        "dashboard-host": "127.0.0.1",
        "object-store-memory": str(100 * 1024**2),
        "temp-dir": str(folder),
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    return [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *words]


def _wait_until_started(cluster: Cluster) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        with suppress(httpx.HTTPError):
            cluster.replicas()
            return
        time.sleep(0.5)
    raise ClusterFailed((cluster.folder / "ray.log").read_text(encoding="utf-8", errors="replace")[-2000:])
