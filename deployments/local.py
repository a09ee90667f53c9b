"""The whole service on this machine: starts Ray and Serve quietly, deploys ``serve_config.yaml``, and stops it all.

What runs here is what runs on a cluster; only the starting and stopping are this file's.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from pydantic import ValidationError

from deployments.errors import UxoError
from deployments.serve_config import ServeConfigInvalid, check_serve_config, no_config, read_serve_config

#: Ray reads these from the environment alone; what the operator has set wins.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
#: Nobody else reaches Ray here: it listens on loopback, and asks for no token.
OPEN = {"UXO_ALLOW_OPEN_RAY": "true"}
#: Bytes of Ray's object store; nothing of ours goes through it.
OBJECT_STORE_BYTES = 100 * 1024**2
#: Seconds in which processes may end by themselves once they are told to.
STOP_S = 10.0

Report = Callable[[str], None]
#: Says what is wrong with a Serve config, by raising.
Check = Callable[[dict[str, Any], Path], object]


class CannotStart(UxoError):
    """The service could not be started."""


@contextmanager
def running(config: Path, *, host: str, port: int, report: Report, check: Check = check_serve_config) -> Iterator[None]:
    """Run the service for the length of a ``with`` block; no process is left when it ends.

    Args:
        config: a Serve config file.
        host: address to listen on.
        port: port to listen on.
        report: told in a few words what is going on.
        check: of the file's content; a benchmark runs other applications than this service.

    Raises:
        CannotStart: when the port is taken, the file is no good, or a deployment does not come up.
    """
    check_port(host, port)
    serve_config = read_config(config, host=host, port=port)
    report("loading Ray")
    schema = _checked(serve_config, config, check)
    before = _children()
    with ExitStack() as stopping:  # every step of it is taken, whatever becomes of the others
        thread = stopping.enter_context(ThreadPoolExecutor(max_workers=1))
        stopping.callback(_stop, before)
        stopping.callback(report, "stopping")
        _start(schema, thread, report=report)
        yield


def authority(host: str, port: int) -> str:
    """Write an address as a URL does."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_port(host: str, port: int) -> None:
    """Make sure that the address is ours and that nothing listens there yet.

    Raises:
        CannotStart: naming the address and the way out.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET  # as Serve's proxy tells them apart
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4])
    except (OSError, UnicodeError) as error:
        raise CannotStart(_no_address(host, port, error)) from error


def _no_address(host: str, port: int, error: OSError | UnicodeError) -> str:
    reason = error.strerror if isinstance(error, OSError) else "no host has such a name"
    is_port = isinstance(error, OSError) and error.errno in {errno.EADDRINUSE, errno.EACCES}
    way_out = "choose another port with UXO_PORT" if is_port else "choose an address of this machine with UXO_HOST"
    return f"cannot listen on {authority(host, port)} ({reason}); {way_out}"


def read_config(path: Path, *, host: str, port: int) -> dict[str, Any]:
    """Read a Serve config file, with the address that this machine's settings say.

    Raises:
        CannotStart: when it cannot be read, is no mapping, or names no application.
    """
    try:
        config = read_serve_config(path)
    except ServeConfigInvalid as error:
        raise CannotStart(error.message) from error
    if not config.get("applications"):
        raise _no_config(path, "applications: it names none")
    options = config.get("http_options") or {}
    if not isinstance(options, dict):
        raise _no_config(path, "http_options: it holds no mapping")
    return config | {"http_options": options | {"host": host, "port": port}}


def _no_config(path: Path, reason: str) -> CannotStart:
    return CannotStart(no_config(path, reason))


def _checked(config: dict[str, Any], path: Path, check: Check) -> Any:
    """Return a Serve config as Serve itself understands it, once every field of it is one that we know."""
    try:
        check(config, path)
    except ServeConfigInvalid as error:
        raise CannotStart(error.message) from error
    for name, value in (QUIET | OPEN).items():
        os.environ.setdefault(name, value)  # noqa: TID251 -- Ray's settings, and one that its processes read
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 -- takes seconds, and reads its environment

    try:
        return ServeDeploySchema.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _no_config(path, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


def _start(schema: Any, thread: Executor, *, report: Report) -> None:
    from ray import serve  # noqa: PLC0415 -- as in _checked
    from ray.serve.context import _get_global_client  # noqa: PLC0415 -- what `serve run` itself deploys a config with

    report("starting Ray")
    _start_ray(thread)
    _silence("ray", "ray.serve")
    report("starting Ray Serve")
    serve.start(
        proxy_location=schema.proxy_location,
        http_options=schema.http_options.model_dump(),
        logging_config=schema.logging_config,
    )
    _get_global_client().deploy_apps(schema)
    _wait_until_ready(report)


def _start_ray(thread: Executor) -> None:
    """Start Ray whole, whatever signals come meanwhile: one that has half started cannot be stopped in order."""
    with _held_signals():
        ray = thread.submit(_init_ray)
        while not ray.done():
            time.sleep(0.1)  # what is to be done at a signal is done by this thread, and only while it is awake
        ray.result()


@contextmanager
def _held_signals() -> Iterator[None]:
    """Hold signals back in this block, and raise the first of them after it."""
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        signal.alarm(0)  # a library of Ray's meets SIGTERM first, and would abort this process after three seconds
        held.append(number)

    meanings = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, meaning in meanings.items():
            signal.signal(number, meaning)
    if held:
        signal.raise_signal(held[0])


def _init_ray() -> None:
    """Start Ray's processes from a thread that is not the main one, where Ray would take SIGTERM for itself.

    Linux kills them when this thread ends, so it has to outlive them.
    """
    import ray  # noqa: PLC0415 -- as in _checked

    # They inherit this: a terminal that is closed tells all that run in it, and Ray is to live until it is stopped.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    ray.init(
        address="local",
        _node_ip_address="127.0.0.1",
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=OBJECT_STORE_BYTES,
    )


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
    composed = application.message.strip().splitlines() or [""]  # what was refused before there was any deployment
    return "; ".join(f"{name}: {text}" for name, text in said.items()) or composed[-1]


def _stop(before: set[psutil.Process]) -> None:
    """Stop Ray, and see to it that nothing is left but what ran before."""
    started = _children() - before  # asked now: once a parent is gone, nobody knows its children
    try:
        _stop_ray()
    finally:
        _end(started | _children() - before)


def _stop_ray() -> None:
    """Let every replica hand its work back, then end Ray, even one that has only half started."""
    import ray  # noqa: PLC0415 -- as in _checked
    from ray import serve  # noqa: PLC0415 -- the same

    _silence("ray", "ray.serve")
    try:
        for name in serve.status().applications if ray.is_initialized() else ():
            serve.delete(name)
    finally:
        ray.shutdown()


def _silence(*loggers: str) -> None:
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end(processes: Iterable[psutil.Process]) -> None:
    """Tell processes to end, and make those end that do not."""
    alive = list(processes)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                end(process)
        _, alive = psutil.wait_procs(alive, timeout=STOP_S)
