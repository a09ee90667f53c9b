"""The whole service on this machine: starts Ray and Serve quietly, deploys ``serve_config.yaml``, and stops it all.

What runs here is what runs on a cluster; only the starting and stopping are this file's.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from deployments.errors import UxoError

#: Ray reads these from the environment alone; what the operator has set wins.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
#: Bytes of Ray's object store; nothing of ours goes through it.
OBJECT_STORE_BYTES = 100 * 1024**2
#: Seconds in which processes may end by themselves once they are told to.
STOP_S = 10.0

Report = Callable[[str], None]


class CannotStart(UxoError):
    """The service could not be started."""


@contextmanager
def running(config: Path, *, host: str, port: int, report: Report) -> Iterator[None]:
    """Run the service for the length of a ``with`` block; no process is left when it ends.

    Args:
        config: a Serve config file.
        host: address to listen on.
        port: port to listen on.
        report: told in a few words what is going on.

    Raises:
        CannotStart: when the port is taken or a deployment does not come up.
    """
    check_port(host, port)
    serve_config = read_config(config, host=host, port=port)
    before = set(psutil.Process().children(recursive=True))
    try:
        _start(serve_config, report=report)
        yield
    finally:
        report("stopping")
        _stop()
        _end(set(psutil.Process().children(recursive=True)) - before)


def check_port(host: str, port: int) -> None:
    """Make sure that nothing listens there yet.

    Raises:
        CannotStart: naming the port and the way out.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another port with UXO_PORT"
            ) from error


def read_config(path: Path, *, host: str, port: int) -> dict[str, Any]:
    """Read a Serve config file, with the address that this machine's settings say.

    Raises:
        CannotStart: when it cannot be read, or is no mapping.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotStart(f"cannot read {path} ({error.strerror}); run this where serve_config.yaml lies") from error
    except (ValueError, yaml.YAMLError) as error:
        raise CannotStart(f"{path} is no Serve config: {error}") from error
    if not isinstance(config, dict):
        raise CannotStart(f"{path} is no Serve config: it holds no mapping")
    return config | {"http_options": config.get("http_options", {}) | {"host": host, "port": port}}


def _start(config: dict[str, Any], *, report: Report) -> None:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)  # noqa: TID251 -- these are Ray's settings, not ours
    import ray  # noqa: PLC0415 -- takes seconds, and reads its environment while it is imported
    from ray import serve  # noqa: PLC0415 -- the same
    from ray.serve.context import _get_global_client  # noqa: PLC0415 -- what `serve run` itself deploys a config with
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 -- the same

    schema = ServeDeploySchema.model_validate(config)
    report("starting Ray")
    ray.init(
        address="local",
        _node_ip_address="127.0.0.1",
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=OBJECT_STORE_BYTES,
    )
    _silence("ray", "ray.serve")
    report("starting Ray Serve")
    serve.start(
        proxy_location=schema.proxy_location,
        http_options=schema.http_options.model_dump(),
        logging_config=schema.logging_config,
    )
    _get_global_client().deploy_apps(schema)
    _wait_until_ready(report)


def _wait_until_ready(report: Report) -> None:
    """Wait for every deployment, and say which ones are still missing."""
    from ray import serve  # noqa: PLC0415 -- as in _start

    while True:
        applications = serve.status().applications
        for application in applications.values():
            if application.status.value in {"DEPLOY_FAILED", "UNHEALTHY"}:
                raise CannotStart(f"the application did not come up: {_reason(application)}")
        starting = [
            name
            for application in applications.values()
            for name, deployment in application.deployments.items()
            if deployment.status.value != "HEALTHY"
        ]
        if applications and not starting and all(app.status.value == "RUNNING" for app in applications.values()):
            return
        report(f"waiting for {', '.join(starting)}" if starting else "waiting for the application")
        time.sleep(0.2)


def _reason(application: Any) -> str:
    """Return what the deployments that failed say last: the error itself, below its stack trace."""
    said = {
        name: deployment.message.strip().splitlines()[-1]
        for name, deployment in application.deployments.items()
        if deployment.status.value in {"DEPLOY_FAILED", "UNHEALTHY"} and deployment.message.strip()
    }
    return "; ".join(f"{name}: {text}" for name, text in said.items()) or application.message


def _stop() -> None:
    """Let every replica hand its work back, then end Ray."""
    import ray  # noqa: PLC0415 -- as in _start
    from ray import serve  # noqa: PLC0415 -- the same

    if not ray.is_initialized():
        return
    _silence("ray", "ray.serve")
    try:
        for name in serve.status().applications:
            serve.delete(name)
    finally:
        ray.shutdown()


def _silence(*loggers: str) -> None:
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _end(processes: set[psutil.Process]) -> None:
    """Wait for processes to end, and end those that do not."""
    _, alive = psutil.wait_procs(processes, timeout=STOP_S)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=STOP_S)
