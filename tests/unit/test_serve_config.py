"""What may stand in a Serve config, and how what may not is named."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deployments.autoscaling import Aim
from deployments.cli import app
from deployments.serve_config import ServeConfigInvalid, check_serve_config, read_serve_config

OURS = Path(__file__).parents[2] / "serve_config.yaml"
#: Where the config of these tests says that it comes from.
HERE = Path("serve_config.yaml")


def config_with(*, deployment: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a config with some more fields in its application, and one deployment."""
    application = {"name": "uxo", "import_path": "deployments.app:build"} | fields
    if deployment:
        application["deployments"] = [{"name": "uno"} | deployment]
    return {"applications": [application]}


def scaling(*, models: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    """Return what a deployment says of its autoscaling."""
    policy = {
        "policy_function": "deployments.autoscaling:BacklogPolicy",
        "policy_kwargs": {"models": models or ["uno"]},
    }
    delays = {"upscale_delay_s": 0, "downscale_delay_s": 0}
    return {"autoscaling_config": {"min_replicas": 0, "max_replicas": 2, **delays, "policy": policy} | fields}


def test_a_deployment_may_scale_from_nothing() -> None:
    """A deployment may have no replicas at least, and what its policy aims at has sensible values."""
    (application,) = check_serve_config(config_with(deployment=scaling()), HERE).applications

    (uno,) = application.deployments
    assert uno.autoscaling_config is not None
    assert asdict(Aim()) == uno.autoscaling_config.policy.policy_kwargs.model_dump(exclude={"models"})


def test_our_own_file_is_understood() -> None:
    """The file that ``make run`` deploys says what it is meant to say."""
    config = check_serve_config(read_serve_config(OURS), OURS)

    (application,) = config.applications
    assert application.args.replicas == {"uno": ["uno"], "uso": ["uso"]}
    assert [each.name for each in application.deployments] == ["ingress", "housekeeper", "uno", "uso"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (config_with(replica={}), "applications.0: there is no field replica; there are name, route_prefix, "),
        (config_with() | {"proxylocation": "HeadOnly"}, "there is no field proxylocation; there are proxy_location, "),
        (config_with() | {"proxy_location": "Everywhere"}, "proxy_location: Input should be 'HeadOnly', 'EveryNode' "),
        (config_with() | {"http_options": {"port": 0}}, "http_options.port: Input should be greater than or equal "),
        (config_with() | {"http_options": {"port": "80"}}, "http_options.port: Input should be a valid integer"),
        (config_with() | {"logging_config": {"encoding": "XML"}}, "logging_config.encoding: Input should be 'TEXT' or"),
        ({"applications": []}, "applications: List should have at least 1 item"),
        ({"applications": [{"name": "uxo"}]}, "applications.0.import_path: Field required"),
        (config_with(route_prefix="/api"), "applications.0.route_prefix: Input should be '/'"),
        (config_with(runtime_env={"env_vars": {"UXO_SECRET": "x"}}), "applications.0: there is no field runtime_env"),
        (config_with(args={"replicas": {"a": ["flux"]}}), "applications.0.args: there is no model flux; there are uno"),
        (config_with(args={"replicas": {"a": []}}), "applications.0.args.replicas.a: List should have at least 1 item"),
        (config_with(args={"replicas": {"ingress": ["uno"]}}), "applications.0.args: ingress is another deployment"),
        (config_with(args={"grace_s": 4}), "applications.0.args.grace_s: Input should be greater than 4"),
        (config_with(args={"capacity": 0}), "applications.0.args.capacity: Input should be greater than or equal to 1"),
        (config_with(deployment={"name": "flux"}), "applications.0: there is no deployment flux; there are ingress, "),
        (config_with(deployments=[{"name": "uno"}] * 2), "applications.0: a deployment stands there twice"),
        (config_with(deployment={"num_replicas": -1}), "applications.0.deployments.0.num_replicas: Input should be "),
        (
            config_with(deployment=scaling(min_replicas=3)),
            "applications.0.deployments.0.autoscaling_config: min_replicas 3 is more than max_replicas 2",
        ),
        (
            config_with(deployment=scaling(policy={"policy_function": "ray:x"})),
            "applications.0.deployments.0.autoscaling_config.policy.policy_function: Input should be 'deployments.auto",
        ),
        (
            config_with(deployment=scaling() | {"num_replicas": 1}),
            "applications.0.deployments.0: give num_replicas or autoscaling_config, not both",
        ),
        (
            config_with(deployment=scaling(models=["uso"])),
            "applications.0: uno is to count the work of uso, but holds uno",
        ),
        (
            config_with(deployment={"name": "ingress"} | scaling()),
            "applications.0: ingress is to count the work of uno, but holds no models",
        ),
        (
            config_with(deployment={"ray_actor_options": {"num_gpu": 1}}),
            "applications.0.deployments.0.ray_actor_options: there is no field num_gpu; there are num_cpus, num_gpus",
        ),
        (
            config_with(deployment={"graceful_shutdown_timeout_s": 1}),
            "applications.0.deployments.0: there is no field graceful_shutdown_timeout_s; grace_s of args says that",
        ),
    ],
)
def test_what_is_wrong_is_named_with_what_may_stand_there(content: dict[str, Any], reason: str) -> None:
    """The first field that is wrong is named by its place, with the fields or values that there are."""
    with pytest.raises(ServeConfigInvalid) as refusal:
        check_serve_config(content, HERE)

    assert refusal.value.message.startswith(f"serve_config.yaml is no Serve config: {reason}")
    assert "\n" not in refusal.value.message


def test_a_good_file_and_good_variables_pass(tmp_path: Path) -> None:
    """``uxo config check`` says which replicas hold which models, and ends well."""
    answer = CliRunner().invoke(app, ["config", "check", str(OURS)], env={"UXO_FOLDER": str(tmp_path)})

    assert answer.exit_code == 0
    assert "can be used: uno with uno; uso with uso" in answer.output


def test_the_database_is_asked_only_where_that_is_wanted(tmp_path: Path) -> None:
    """With ``--ask`` a database that is away is one line and exit code 1; without, nobody is asked."""
    away = {"UXO_FOLDER": str(tmp_path), "UXO_DATABASE_URL": "postgresql+asyncpg://uxo:pass-word@127.0.0.1:1/uxo"}

    looks, asks = (CliRunner().invoke(app, ["config", "check", str(OURS), *more], env=away) for more in ([], ["--ask"]))

    assert (looks.exit_code, asks.exit_code) == (0, 1)
    assert "cannot reach the database (" in asks.output
    assert "pass-word" not in asks.output


def test_a_good_file_can_be_read_by_scripts(tmp_path: Path) -> None:
    """With ``--json`` the same is said as JSON."""
    words = ["config", "check", str(OURS), "--json"]

    answer = CliRunner().invoke(app, words, env={"UXO_FOLDER": str(tmp_path)})

    assert yaml.safe_load(answer.output) == {"file": str(OURS), "replicas": {"uno": ["uno"], "uso": ["uso"]}}


@pytest.mark.parametrize(
    ("content", "variables", "reason"),
    [
        (
            "applications: [{name: uxo}]",
            {},
            "serve.yaml is no Serve config: applications.0.import_path: Field required",
        ),
        ("{a: [", {}, "serve.yaml is no Serve config: while parsing"),
        (OURS.read_text(encoding="utf-8"), {"UXO_PORT": "http"}, "UXO_PORT='http' cannot be used"),
        (OURS.read_text(encoding="utf-8"), {"UXO_SECRET": "short"}, "UXO_SECRET cannot be used"),
        (yaml.safe_dump(config_with(args={"grace_s": 60.0})), {}, "args.grace_s is 60, and calls are held for"),
        (yaml.safe_dump(config_with(deployment={"name": "ingress", "num_replicas": 2})), {}, "args.grace_s is 10, "),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, content: str, variables: dict[str, str], reason: str) -> None:
    """A bad file or variable is one line and exit code 1."""
    path = tmp_path / "serve.yaml"
    path.write_text(content, encoding="utf-8")

    answer = CliRunner().invoke(app, ["config", "check", str(path)], env={"UXO_FOLDER": str(tmp_path)} | variables)

    assert answer.exit_code == 1
    assert reason in answer.output
    assert "Traceback" not in answer.output
