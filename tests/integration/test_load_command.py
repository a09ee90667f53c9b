"""``python -m loadtest run`` from its words to its exit code and its files, against small servers."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from running_service import free_port
from typer.testing import CliRunner, Result

from loadtest.__main__ import app
from loadtest.answers import answering
from loadtest.exits import MISSED, STOPPED
from loadtest.openloop.profile import read_profile

SHORT = "{seconds: 0.5, seed: 11, tenants: 2, poll_s: 0.05, arrivals: {kind: steady, rate: 10}}"


def loaded(folder: Path, target: str, *words: str) -> Result:
    """Run a profile of half a second to its end."""
    (folder / "short.yaml").write_text(SHORT, encoding="utf-8")
    asked = ["run", str(folder / "short.yaml"), "--target", target, "--output", str(folder / "found"), *words]
    return CliRunner().invoke(app, [*asked, "--key", "secret-1,secret-2"])


def report_of(folder: Path) -> dict[str, Any]:
    """Read the report of a load."""
    found: dict[str, Any] = json.loads((folder / "found" / "report.json").read_text(encoding="utf-8"))
    return found


def test_a_load_that_meets_its_goals_is_well(tmp_path: Path) -> None:
    """The exit is 0, and the report says how to do the same once more, without a key."""
    with answering(free_port()) as target:
        ended = loaded(tmp_path, target, "--slo", "p95=20s,errors=0%", "--speed", "2")

    report = report_of(tmp_path)
    assert ended.exit_code == 0, ended.output
    assert "ledger sound: 5 accepted, 5 ended once" in ended.output
    assert report["command"] == (
        f"python -m loadtest run {tmp_path}/short.yaml --key KEY,KEY --slo p95=20s,errors=0% "
        f"--target {target} --speed 2.0 --output {tmp_path}/found"
    )
    assert report["source"] == read_profile(str(tmp_path / "short.yaml")).model_dump(mode="json")
    assert report["source"]["seed"] == 11
    assert not any("secret" in path.read_text(encoding="utf-8") for path in (tmp_path / "found").iterdir())
    with (tmp_path / "found" / "orders.csv").open(encoding="utf-8") as lines:
        assert [row["end"] for row in csv.DictReader(lines)] == ["succeeded"] * 5


def test_a_load_that_misses_a_goal_says_so(tmp_path: Path) -> None:
    """The exit is 1, and the report is there all the same."""
    with answering(free_port()) as target:
        ended = loaded(tmp_path, target, "--slo", "p50=0ms")

    assert ended.exit_code == MISSED
    assert "SLO missed: p50=0ms" in ended.output
    assert [each["is_met"] for each in report_of(tmp_path)["slo"]] == [False]


def test_ctrl_c_writes_the_report_and_counts_what_was_in_flight(tmp_path: Path) -> None:
    """The exit is 130; what had no end is in flight, what was not due was not sent, and the page says both."""
    # The first of five orders is due at once, the second ten seconds later.
    with never_done() as target:
        ended = loaded(tmp_path, target, "--speed", "0.01")

    report = report_of(tmp_path)
    assert ended.exit_code == STOPPED, ended.output
    assert report["was_stopped"]
    assert (report["ledger"]["in_flight"], report["orders"], report["not_sent"]) == (1, 1, 4)
    assert "1 in flight" in (tmp_path / "found" / "report.html").read_text(encoding="utf-8")


@contextmanager
def never_done() -> Iterator[str]:
    """Serve tasks that never end; when one is first read, Ctrl-C is pressed."""
    tasks: list[str] = []
    pressed: list[None] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            tasks.append(f"task-{len(tasks) + 1}")
            self._say(200, {"data": {"id": tasks[-1], "status": "created"}})

        def do_GET(self) -> None:
            known = [task for task in tasks if f"/{task}/" in self.path]
            if known and not pressed:
                pressed.append(None)
                os.kill(os.getpid(), signal.SIGINT)
            self._say(200 if known else 404, {"data": {"status": "processing"}} if known else {"code": 404})

        def _say(self, status: int, content: object) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, format: str, *words: object) -> None:  # noqa: A002 -- the library names it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
