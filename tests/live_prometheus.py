"""A real Prometheus that knows the chart's alerts and scrapes one address; ``.ci/prometheus`` installs it."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from monitoring import alert_groups, program
from running_service import free_port

#: Seconds until what must come has come.
PATIENCE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A live Prometheus."""

    #: Where its API is.
    address: str
    #: Called with each question, so that what is scraped moves.
    stir: Callable[[], object]

    def ask(self, path: str, **parameters: str) -> dict[str, Any]:
        """Return what its API answers; nothing while it does not listen."""
        self.stir()
        try:
            told = httpx.get(f"{self.address}/api/v1/{path}", params=parameters, trust_env=False)
        except httpx.TransportError:
            return {}
        if told.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return {}
        assert told.is_success, told.text
        answered: dict[str, Any] = told.json()["data"]
        return answered

    def series(self, expression: str) -> list[Any]:
        """Return what an expression has to show now."""
        found: list[Any] = self.ask("query", query=expression).get("result", [])
        return found

    def numbers(self, expression: str) -> list[float]:
        """Return the values that an expression has to show now; what was divided by nothing is none."""
        values = [float(each["value"][1]) for each in self.series(expression)]
        return [value for value in values if not math.isnan(value)]

    def wait_for(self, expression: str) -> None:
        """Ask until an expression has a number to show."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.numbers(expression):
            assert time.monotonic() < deadline, expression

    def rules(self) -> list[Any]:
        """Return the alerts as it judges them, once it has judged them all."""
        deadline = time.monotonic() + PATIENCE_S
        while not (judged := self._judged()):
            assert time.monotonic() < deadline
        return judged

    def _judged(self) -> list[Any]:
        rules = [rule for group in self.ask("rules").get("groups", ()) for rule in group["rules"]]
        return [] if any(rule["health"] == "unknown" for rule in rules) else rules


@contextmanager
def prometheus_of(
    folder: Path, *, scraped: int, stir: Callable[[], object], every: str = "500ms"
) -> Iterator[Prometheus]:
    """Run a Prometheus for the length of a block.

    Args:
        folder: for its config and its series.
        scraped: the port of the metrics on this machine.
        stir: called with each question.
        every: how long after one look it takes the next; a look that takes longer than that is none.
    """
    port = free_port()
    target = {"targets": [f"127.0.0.1:{scraped}"], "labels": {"namespace": "pictures"}}
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "uxo", "static_configs": [target]}],
    }
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": alert_groups()}))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    command = [
        program("prometheus"),
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/series",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            yield Prometheus(address=f"http://127.0.0.1:{port}", stir=stir)
        finally:
            server.kill()
