"""``uxo run`` as a person meets it: what it says, how it stops, and what is wrong in one line."""

from __future__ import annotations

import os
import pty
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from running_service import (
    ALICE,
    CALL_S,
    HEEDING_HANGUPS,
    ROOT,
    RUN_S,
    START_S,
    free_port,
    one_replica,
    uxo_run,
    wait_for,
)
from weights_folder import write_hollow

from models.loading import hash_file, record

UXO = str(Path(sys.executable).with_name("uxo"))
#: Plays a shell: the terminal is its own, and it dies when that is closed, as does what it has started if it may.
SHELL = """
import fcntl, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
subprocess.run(sys.argv[1:])
"""
#: The file of the weights that a byte is changed in; it is read before the large ones.
FLIPPED = "tokenizer_2/tokenizer.json"
#: Seconds that an orderly stop may take; Ray's processes without their head need 60 to notice.
STOP_S = 40

pytestmark = pytest.mark.timeout(RUN_S)


@pytest.mark.parametrize(
    ("number", "news"),
    [
        (signal.SIGINT, "serving at"),
        (signal.SIGTERM, "serving at"),
        (signal.SIGHUP, "serving at"),
        (signal.SIGINT, "stop with Ctrl-C"),
        (signal.SIGTERM, "starting Ray"),
        (signal.SIGTERM, "starting Ray Serve"),
        (signal.SIGHUP, "starting Ray Serve"),
    ],
)
def test_a_signal_leaves_no_process_and_exits_0(tmp_path: Path, number: signal.Signals, news: str) -> None:
    """Whichever signal asks it to stop, and whenever: all that it started is gone, and it says so in one line."""
    settings = {"UXO_PORT": str(free_port()), "UXO_BOOTSTRAP_KEYS": f"alice:{ALICE}"}
    with uxo_run(tmp_path, config=one_replica(tmp_path), **settings) as (process, lines):
        said = wait_for(lines, news)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        code = process.wait(timeout=120)
        left = [*processes_of(tmp_path), *alive(started)]
    said += all_of(lines)

    assert code == 0
    assert left == []
    assert said[-1] == "stopped, nothing is left running\n"
    assert not [line for line in said if "Traceback" in line or "rror" in line]
    assert not [line for line in said if ALICE in line]


def test_a_closed_terminal_leaves_no_process(tmp_path: Path) -> None:
    """When the terminal goes, and the shell with it, Ray lives until it is stopped in order, which takes seconds."""
    config = one_replica(tmp_path)
    keyboard, inner = pty.openpty()
    shell = subprocess.Popen(
        [*HEEDING_HANGUPS, sys.executable, "-c", SHELL, UXO, "run", "--no-first-light", "--config", config],
        cwd=ROOT,
        env=environment(UXO_FOLDER=str(tmp_path), UXO_PORT=str(free_port())),
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    said = b""
    while b"Try it" not in said:
        said += os.read(keyboard, 10_000)
    started = psutil.Process(shell.pid).children(recursive=True)

    os.close(keyboard)
    psutil.wait_procs(started, timeout=STOP_S)

    assert shell.wait() == -signal.SIGHUP
    assert started
    assert [*processes_of(tmp_path), *alive(started)] == []


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    """A port that is taken is named at once, with the way out."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]

        ended = run_to_its_end(tmp_path, UXO_PORT=str(port))

    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stdout
    assert "UXO_PORT" in ended.stdout
    assert "Traceback" not in ended.stdout


def test_a_config_that_serve_refuses_is_one_clear_line(tmp_path: Path) -> None:
    """A Serve config with a mistake is named with the place of the mistake."""
    config = tmp_path / "mistaken.yaml"
    config.write_text("applications: [{name: uxo, import_path: deployments.app:build, deployments: [{replicas: 1}]}]")

    ended = run_to_its_end(tmp_path, "--config", str(config), UXO_PORT=str(free_port()))

    assert ended.returncode == 1
    assert f"{config} is no Serve config: applications.0.deployments.0: there is no field replicas" in ended.stdout
    assert "Traceback" not in ended.stdout


def test_a_bad_setting_is_one_clear_line(tmp_path: Path) -> None:
    """A setting that cannot be used is named with its value."""
    ended = run_to_its_end(tmp_path, UXO_PORT="eighty")

    assert ended.returncode == 1
    assert "UXO_PORT='eighty' cannot be used" in ended.stdout
    assert "Traceback" not in ended.stdout


def test_a_bad_bootstrap_key_is_one_clear_line(tmp_path: Path) -> None:
    """A key that is too short is named by its place, and not shown."""
    ended = run_to_its_end(tmp_path, UXO_BOOTSTRAP_KEYS="alice:short")

    assert ended.returncode == 1
    assert "UXO_BOOTSTRAP_KEYS" in ended.stdout
    assert "short" not in ended.stdout
    assert "Traceback" not in ended.stdout


def test_a_replica_with_a_flipped_byte_is_never_ready(tmp_path: Path) -> None:
    """Weights that differ from their record by a byte are named, and until all ends no model is ready over HTTP."""
    port, weights = free_port(), with_flipped_byte(tmp_path / "weights")
    settings = {"UXO_PORT": str(port), "UXO_WEIGHTS": str(weights)}

    with uxo_run(tmp_path, config=one_replica(tmp_path), **settings) as (process, lines):
        answers, said = watched(f"http://127.0.0.1:{port}/v2/models/uno/ready", lines)
        code = process.wait(timeout=60)
        left = processes_of(tmp_path)

    assert code == 1
    assert left == []
    assert "the application did not come up" in said
    assert f"{FLIPPED} is not the file that SHA256SUMS records" in said
    assert "Traceback" not in said
    assert 200 not in answers
    assert any("no replica is up that draws" in answer for answer in answers[503])


def with_flipped_byte(folder: Path) -> Path:
    """Write weights of released sizes that hold no values, and change a byte of a file after it was recorded."""
    file = write_hollow(folder) / FLIPPED
    record(folder, {file: hash_file(file, progress=lambda _size: None)})
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    return folder


def watched(url: str, lines: queue.Queue[str]) -> tuple[dict[int, set[str]], str]:
    """Ask for an address again and again and read lines, until there are no more; return all answers by status."""
    answers: dict[int, set[str]] = {}
    said = [""]
    with httpx.Client(timeout=CALL_S, trust_env=False) as client:
        while not said[1:] or said[-1]:
            with suppress(queue.Empty):
                said.append(lines.get(timeout=0.05))
            with suppress(httpx.TransportError):
                answer = client.get(url)
                answers.setdefault(answer.status_code, set()).add(answer.text)
    return answers, "".join(said)


def run_to_its_end(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``uxo run`` where it cannot start."""
    return subprocess.run(
        [UXO, "run", *words],
        env=environment(UXO_FOLDER=str(folder), **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_S,
        check=False,
    )


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with more variables."""
    return {**os.environ, **variables}  # noqa: TID251 -- handed on, not read


def alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run; one that nobody has asked about since it ended does not."""
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def processes_of(folder: Path) -> list[str]:
    """Return what runs with a folder as its ``UXO_FOLDER``, whoever their parent is by now; Ray hides a few."""
    return [text for process in psutil.process_iter() if (text := text_of(process, folder))]


def text_of(process: psutil.Process, folder: Path) -> str:
    """Return a process's command if it runs with that folder, else nothing."""
    try:
        return " ".join(process.cmdline()) if process.environ().get("UXO_FOLDER") == str(folder) else ""
    except psutil.Error:  # it has ended, or it is somebody else's
        return ""


def all_of(lines: queue.Queue[str]) -> list[str]:
    """Return what is left to read."""
    return [line for line in (lines.get_nowait() for _ in range(lines.qsize())) if line]
