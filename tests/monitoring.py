"""What the chart gives Prometheus and Grafana, and the programs that judge it; ``.ci/prometheus`` installs them."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

from helm_chart import of_kind, only, render
from missing_service import give_up

#: What asks for all that the chart has for Prometheus and Grafana.
MONITORED = {
    "monitoring": {
        "scraping": {"enabled": True, "labels": {"prometheus": "ours"}},
        "alerts": {"enabled": True, "labels": {"prometheus": "ours"}},
        "dashboard": {"enabled": True},
    }
}
#: A metric of ours in an expression.
METRIC = re.compile(r"\buxo_[a-z_]+")
#: What Grafana puts in for its variables.
VARIABLES = {"$namespace": ".*", "$__rate_interval": "1m"}


def program(name: str) -> str:
    """Return where a program of Prometheus lies; without it the test is given up."""
    return shutil.which(name) or give_up(f"{name} is not installed; .ci/prometheus installs it")


def alert_groups() -> list[dict[str, Any]]:
    """Return the groups of alerts that the chart makes."""
    groups: list[dict[str, Any]] = only(render(MONITORED), "PrometheusRule")["spec"]["groups"]
    return groups


def alerts() -> dict[str, dict[str, Any]]:
    """Return every alert by its name."""
    return {rule["alert"]: rule for group in alert_groups() for rule in group["rules"]}


def dashboard() -> dict[str, Any]:
    """Return the dashboard that the chart hands to Grafana."""
    texts = of_kind(render(MONITORED), "ConfigMap")["dashboard"]["data"]
    read: dict[str, Any] = json.loads(texts["uxo-serve.json"])
    return read


def panels() -> dict[str, list[str]]:
    """Return what each panel of the dashboard asks, by its title, with the dashboard's variables put in."""
    return {
        panel["title"]: [_with_variables(target["expr"]) for target in panel["targets"]]
        for panel in dashboard()["panels"]
        if panel["type"] != "row"
    }


def dashboard_expressions() -> list[str]:
    """Return what all panels of the dashboard ask."""
    return [expression for asked in panels().values() for expression in asked]


def _with_variables(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression
