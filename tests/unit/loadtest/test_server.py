"""How the servers of a benchmark are kept apart, and what they serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.serve_config import ServeConfigInvalid, check_serve_config
from loadtest.ingress_cost import plans
from loadtest.server import PORTS_PER_SERVER, any_application, echo_config, environment_of, our_config

CONFIG = Path(__file__).parents[3] / "serve_config.yaml"


def test_ours_has_nothing_that_carries_out_tasks() -> None:
    """Tasks stay queued, so that a submission is all that is measured."""
    application = our_config(CONFIG)["applications"][0]

    assert application["args"] == {"replicas": {}}
    assert [each["name"] for each in application["deployments"]] == ["ingress", "housekeeper"]


def test_echo_differs_by_its_application_alone() -> None:
    """Proxy and logging are the same for both, so they cannot make the difference."""
    ours, echo = our_config(CONFIG), echo_config(CONFIG)

    assert {key for key in ours if ours[key] != echo[key]} == {"applications"}


def test_a_benchmark_serves_what_the_service_would_refuse() -> None:
    """The echo is no application of ours, and nothing is said against it."""
    echo = echo_config(CONFIG) | {"http_options": {"host": "127.0.0.1", "port": 8000}}

    with pytest.raises(ServeConfigInvalid, match="import_path"):
        check_serve_config(echo, CONFIG)
    any_application(echo, CONFIG)


def test_no_two_servers_share_a_port(tmp_path: Path) -> None:
    """Every port that one server is told is inside its own range."""
    for number, plan in enumerate(plans(tmp_path, sockets=tmp_path, port=20000)):
        ports = [int(value) for name, value in environment_of(plan).items() if name.endswith("_PORT")]

        assert plan.port == 20000 + number * PORTS_PER_SERVER
        assert all(plan.port < port < plan.port + PORTS_PER_SERVER for port in ports)


def test_two_of_four_servers_stand_behind_haproxy(tmp_path: Path) -> None:
    """Each application is measured in both modes, and the operator's own choice does not leak in."""
    found = {
        plan.name: environment_of(plan)["RAY_SERVE_ENABLE_HA_PROXY"]
        for plan in plans(tmp_path, sockets=tmp_path, port=1)
    }

    assert found == {"echo": "0", "echo-haproxy": "1", "uxo": "0", "uxo-haproxy": "1"}
