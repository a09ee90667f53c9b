"""The chart's dashboard and alerts against a real Prometheus that scrapes the real service, after some work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from live_prometheus import Prometheus, prometheus_of
from monitoring import alerts, panels
from running_service import Service

#: What is asked for; small, so that it is soon there.
WISH: dict[str, Any] = {"prompt": "a mug", "size": "256*256", "enable_sync_mode": True}
#: The last that a service does for a task.
AFTER_ALL = 'uxo_webhooks_total{outcome="delivered"}'


@pytest.fixture(scope="module")
def prometheus(
    service: Service, references: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Yield a Prometheus that has seen the service at work.

    What is counted for the first time is new to Prometheus and no rise; only the second time is one. An encoding is
    remembered from the second time on, so the work is done three times.
    """
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus_of(folder, scraped=service.metrics_port, stir=lambda: None, every="1s") as running:
        for _ in range(3):
            seen = sum(running.numbers(AFTER_ALL))
            work(service, references[0])
            running.wait_for(f"{AFTER_ALL} > {seen}")
        yield running


def work(service: Service, reference: str) -> None:
    """Have a picture made and told of, and a call refused."""
    wish = WISH | {"images": [reference]}
    with service.client() as client:
        client.post("/api/v3/wavespeed-ai/uno", params={"webhook": reference}, json=wish).raise_for_status()
        client.get("/api/v3/nowhere")


def test_every_panel_has_something_to_show(prometheus: Prometheus) -> None:
    """After a few tasks there is no panel, and no line of one, without a number: not even those of trouble."""
    for asked in panels().values():
        for expression in asked:
            prometheus.wait_for(expression)


def test_every_alert_is_judged(prometheus: Prometheus) -> None:
    """Each is evaluated without an error on what the service gives."""
    rules = prometheus.rules()

    assert {(rule["name"], rule["health"]) for rule in rules} == {(name, "ok") for name in alerts()}
