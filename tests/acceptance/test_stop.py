"""The service on PostgreSQL, told to stop in the middle of its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from postgresql_server import PostgresServer
from running_service import ALICE, CALL_S, ROOT, RUN_S, START_S, free_port, one_replica, uxo_run, wait_for

#: More than a replica does in the time that it is given to end.
WISHES = [{"prompt": "a cup", "seed": seed, "num_images": 4, "num_inference_steps": 50} for seed in range(8)]


@pytest.mark.timeout(RUN_S)
def test_a_service_that_stops_leaves_nothing_running(
    postgresql: PostgresServer, tmp_path: Path, references: list[str]
) -> None:
    """What was accepted has succeeded or waits unblamed for the next start, whatever it was in the middle of."""
    database = postgresql.create_database()
    settings = {"UXO_DATABASE_URL": postgresql.url(database), "UXO_BOOTSTRAP_KEYS": f"alice:{ALICE}"}
    port = free_port()
    settings |= {"UXO_PORT": str(port), "UXO_ALLOW_PRIVATE_NETWORKS": "true"}
    migrate(settings)
    with uxo_run(tmp_path, config=one_replica(tmp_path), **settings) as (process, lines):
        wait_for(lines, "serving at")
        submit_all(port, reference=references[0])
        wait_until_running(postgresql, database)

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0

    ended = postgresql.run_sql("SELECT state, attempt FROM tasks", database=database).split()
    assert len(ended) == len(WISHES)
    assert set(ended) <= {"succeeded|1", "queued|0"}
    assert "queued|0" in ended


def migrate(settings: dict[str, str]) -> None:
    """Bring the database up to date, as an operator does."""
    command = [str(Path(sys.executable).with_name("uxo")), "migrate"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=True, capture_output=True)  # noqa: TID251 -- handed on, not read


def submit_all(port: int, *, reference: str) -> None:
    """Submit every wish."""
    headers = {"Authorization": f"Bearer {ALICE}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=CALL_S, trust_env=False) as client:
        for wish in WISHES:
            client.post("/api/v3/wavespeed-ai/uno", json=wish | {"images": [reference]}).raise_for_status()


def wait_until_running(server: PostgresServer, database: str) -> None:
    """Return once a replica has taken steps."""
    deadline = time.monotonic() + START_S
    while server.run_sql("SELECT count(*) FROM tasks WHERE steps_done > 0", database=database).strip() == "0":
        assert time.monotonic() < deadline, "no task ever started"
        time.sleep(0.05)
