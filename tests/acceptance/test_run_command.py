"""``uxo run`` as a person meets it: what it says, how it stops, and what is wrong in one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
from running_service import START_S, free_port, uxo_run, wait_for

UXO = str(Path(sys.executable).with_name("uxo"))


def test_ctrl_c_leaves_no_process_and_exits_0(tmp_path: Path) -> None:
    """After SIGINT every process it started is gone, and it says so."""
    with uxo_run(tmp_path, UXO_PORT=str(free_port())) as (process, lines):
        said = wait_for(lines, "serving at")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
        said += wait_for(lines, "stopped")

    assert code == 0
    assert children
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert not [line for line in said if "Traceback" in line or "rror" in line]


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


def test_a_replica_that_cannot_start_says_why(tmp_path: Path) -> None:
    """When a model cannot be loaded, the reason is shown and nothing is left running."""
    ended = run_to_its_end(tmp_path, UXO_PORT=str(free_port()), UXO_DEVICE="abacus")

    assert ended.returncode == 1
    assert "the application did not come up" in ended.stdout
    assert "abacus" in ended.stdout
    assert "Traceback" not in ended.stdout


def run_to_its_end(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``uxo run`` where it cannot start."""
    return subprocess.run(
        [UXO, "run"],
        env={**os.environ, "UXO_FOLDER": str(folder), **environment},  # noqa: TID251 -- handed on, not read
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_S,
        check=False,
    )
