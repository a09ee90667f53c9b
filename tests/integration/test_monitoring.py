"""What the chart has for Prometheus and Grafana: its names are ours, and a live Prometheus can answer it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from helm_chart import RELEASE, containers_of, of_kind, only, pods_of, render
from live_prometheus import Prometheus, prometheus_of
from monitoring import METRIC, MONITORED, alerts, dashboard, dashboard_expressions
from running_service import free_port

from deployments.rounds import TIDYING
from deployments.telemetry.metrics import METRICS

SCRIPT = Path(__file__).parents[1] / "measured_everything.py"
#: What Prometheus and its operator add to each of our series.
ADDED = {"namespace", "pod", "le"}
BY_NAME = {metric.name: metric for metric in METRICS}


def expressions() -> list[str]:
    """Return everything that alerts and panels ask."""
    return [*dashboard_expressions(), *(rule["expr"] for rule in alerts().values())]


def metric_of(name: str) -> str:
    """Return which metric a series belongs to; a histogram has several."""
    return name if name in BY_NAME else re.sub("_(bucket|count|sum)$", "", name)


def test_every_name_is_a_metric_of_ours() -> None:
    """No expression asks for a metric that there is not."""
    asked = {metric_of(name) for each in expressions() for name in METRIC.findall(each)}

    assert asked - set(BY_NAME) == set()


def test_every_label_is_one_of_the_metric() -> None:
    """No expression tells series apart by a label that none of its metrics has."""
    for each in expressions():
        names = [metric_of(name) for name in METRIC.findall(each)]
        lists = re.findall(r"(?:by|on) \(([^)]*)\)", each)
        matched = re.findall(r"(\w+) ?[=!]~?\"", each)
        known = ADDED.union(*(BY_NAME[name].labels for name in names))
        if names:
            assert {label.strip() for one in lists for label in one.split(",")} | set(matched) <= known, each


def test_the_dashboard_shows_every_metric() -> None:
    """There is no metric that the dashboard leaves out."""
    shown = {metric_of(name) for each in dashboard_expressions() for name in METRIC.findall(each)}

    assert shown == set(BY_NAME)


def test_no_round_of_a_housekeeper_is_left_out() -> None:
    """The alert for late rounds, and the panel for them, watch all that some housekeeper has to end, and no others."""
    watched = [re.search(r'round=~"([^"]*)"', each) for each in expressions()]

    assert [set(found[1].split("|")) for found in watched if found] == [TIDYING, TIDYING]


def test_panels_lie_side_by_side() -> None:
    """No two panels of the dashboard share an id or a place, and each has a title."""
    panels = dashboard()["panels"]
    places = [
        (column, row)
        for grid in (panel["gridPos"] for panel in panels)
        for column in range(grid["x"], grid["x"] + grid["w"])
        for row in range(grid["y"], grid["y"] + grid["h"])
    ]

    assert len(set(places)) == len(places)
    assert max(column for column, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)


def test_prometheus_and_grafana_are_told_where() -> None:
    """Each object bears the labels that it is found by, and all pods but the head's are scraped at a port they have."""
    manifests = render(MONITORED)
    monitor, rule = (only(manifests, kind) for kind in ("PodMonitor", "PrometheusRule"))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    wanted = monitor["spec"]["selector"]
    (parts,) = (each["values"] for each in wanted["matchExpressions"])

    found = {
        name: [port["name"] for container in containers_of(template) for port in container.get("ports", ())]
        for name, template in pods_of(manifests)
        if template["metadata"]["labels"]["uxo-serve/part"] in parts
    }

    assert wanted["matchLabels"] == {"uxo-serve/release": RELEASE}
    assert found == {"gateway": ["serve", "metrics"], "flux": ["serve", "metrics"]}
    assert endpoint == {"port": "metrics", "path": "/metrics", "interval": "15s"}
    assert monitor["metadata"]["labels"]["prometheus"] == rule["metadata"]["labels"]["prometheus"] == "ours"
    assert of_kind(manifests, "ConfigMap")["dashboard"]["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_without_asking_there_is_none_of_it() -> None:
    """A cluster without the Prometheus operator takes what the chart makes by itself."""
    kinds = {manifest["kind"] for manifest in render({})}

    assert kinds & {"PodMonitor", "PrometheusRule", "ConfigMap"} == set()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Yield a Prometheus that scrapes a process with every metric, and knows our alerts."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    command = [sys.executable, str(SCRIPT), str(folder / "metrics"), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as measured:
        assert measured.stdin is not None
        assert measured.stdout is not None
        assert measured.stdout.readline()
        with prometheus_of(folder, scraped=port, stir=partial(print, file=measured.stdin, flush=True)) as running:
            yield running


def test_a_live_prometheus_answers_every_panel(prometheus: Prometheus) -> None:
    """Each expression of the dashboard has series to show, of metrics that a live process gives."""
    for each in dashboard_expressions():
        prometheus.wait_for(each)


def test_a_live_prometheus_judges_every_alert(prometheus: Prometheus) -> None:
    """Each alert is evaluated without an error, and what it says is filled in."""
    prometheus.wait_for('ALERTS{alertname="UxoQueueOld"}')

    rules = prometheus.rules()

    assert {(rule["name"], rule["health"]) for rule in rules} == {(name, "ok") for name in alerts()}
    summaries = [alert["annotations"]["summary"] for alert in prometheus.ask("alerts")["alerts"]]
    assert "The oldest task of some has waited for 5h 33m 20s" in summaries
    assert not [each for each in summaries if "error" in each or "{{" in each]
