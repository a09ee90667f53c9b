"""The Helm chart: rendered by two majors of Helm, checked against the schemas there are, and against our own code."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_chart import (
    API_SERVER,
    BIN,
    CHART,
    HELM_3,
    MAJORS,
    ROOT,
    Refused,
    cluster_of,
    containers_of,
    of_kind,
    only,
    pods_of,
    render,
    serve_config_of,
    values_of,
)
from jsonschema import Draft7Validator
from monitoring import MONITORED

from deployments.serve_config import check_serve_config
from deployments.settings import Settings

#: What the variable names that says where the schema of KubeRay's RayService lies.
RAYSERVICE_SCHEMA = "UXO_TEST_RAYSERVICE_SCHEMA"
COPIED: dict[str, Any] = {
    "source": "copy",
    "copy": {"image": "registry.example/weights:1", "command": ["cp", "-r", "/w", "/weights"]},
}
#: Everything that an operator can add to pods.
ADDED: dict[str, Any] = {
    "extraEnv": [{"name": "AWS_CA_BUNDLE", "value": "/etc/ours/ca.crt"}],
    "extraVolumes": [{"name": "ours", "configMap": {"name": "our-ca"}}],
    "extraVolumeMounts": [{"name": "ours", "mountPath": "/etc/ours", "readOnly": True}],
    "head": {"priorityClassName": "pictures"},
    "gateway": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}},
    "gpuGroups": {"flux": {"runtimeClassName": "nvidia", "gpuResource": "nvidia.com/gpu.shared"}},
    "seccomp": {"localhostProfile": "profiles/uxo.json"},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/pictures"}},
    "weights": COPIED,
}
#: The values that everything is tested with, by what they are.
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one-gpu": values_of("values-one-gpu.yaml"),
    "fleet": values_of("values-fleet.yaml") | MONITORED,
    "scale-to-zero": values_of("values-scale-to-zero.yaml") | {"network": API_SERVER},
    "added": ADDED,
    "bootstrap-keys": {"secrets": {"bootstrapKeys": {"name": "first-keys"}, "bucket": {"name": ""}}},
    "post-migration": {"migration": {"post": values_of("values.yaml")["images"]["gateway"]}},
    "traced": {"tracing": {"endpoint": "http://collector:4318", "to": [{"podSelector": {}}]}},
}
SCALE = {"scale": {"maxPods": 2, "waitS": 9, "calmS": 9, "unitsPerS": 1}}
LATE = {"monitoring": {"alerts": {"enabled": True, "claimDelayS": 8}}}
SCALES = {"autoscaler": {"enabled": True}, "network": API_SERVER}
EVERY = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


@EVERY
def test_both_majors_of_helm_make_the_same(values: dict[str, Any]) -> None:
    """Helm 3 and Helm 4 take the values and render the same objects."""
    old, new = (sorted(render(values, major=major), key=str) for major in MAJORS)

    assert [manifest["kind"] for manifest in old]
    assert old == new


@EVERY
def test_helm_finds_nothing_wrong(values: dict[str, Any]) -> None:
    """Helm's own lint passes, warnings too."""
    render({})
    words = [str(HELM_3), "lint", "--strict", str(CHART), "--values", "-"]

    ended = subprocess.run(words, input=json.dumps(values), capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout


@EVERY
def test_kubernetes_knows_every_field(values: dict[str, Any], tmp_path: Path) -> None:
    """The schemas of an old and a new Kubernetes take every object, and no field is unknown."""
    path = tmp_path / "rendered.yaml"
    path.write_text(yaml.safe_dump_all(render(values)))

    for version in ("1.25", "1.37"):
        command = [str(BIN / "kubernetes-validate"), "--strict", "--kubernetes-version", version, str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)

        assert ended.returncode == 0, ended.stdout + ended.stderr


@EVERY
def test_kuberay_knows_every_field(values: dict[str, Any]) -> None:
    """KubeRay's RayService takes what is rendered, and no field is unknown to it."""
    path = os.environ.get(RAYSERVICE_SCHEMA)  # noqa: TID251 -- it is the test run's setting, not the service's
    if not path:
        pytest.skip(f"{RAYSERVICE_SCHEMA} names no JSON Schema of KubeRay's RayService")
    if not Path(path).is_file():
        pytest.fail(f"{RAYSERVICE_SCHEMA} names {path}, and there is no such file")
    schema = yaml.safe_load(Path(path).read_text(encoding="utf-8"))

    mistakes = [error.message for error in Draft7Validator(schema).iter_errors(only(render(values), "RayService"))]

    assert mistakes == []


@EVERY
@pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning")  # Ray's own schema does
def test_ray_serve_and_we_take_the_config(values: dict[str, Any]) -> None:
    """What Ray Serve is told passes its own schema, and our stricter one."""
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 -- takes seconds

    config = serve_config_of(render(values))

    ServeDeploySchema.model_validate(config)
    (application,) = check_serve_config(config, CHART).applications
    assert {each.name for each in application.deployments} == {"ingress", "housekeeper", *application.args.replicas}


@EVERY
def test_every_replica_has_its_place(values: dict[str, Any]) -> None:
    """Each deployment asks for what one group offers, and has as many replicas as that group has pods."""
    manifests = render(values)
    groups = {group["groupName"]: group for group in cluster_of(manifests)["workerGroupSpecs"]}
    offers = {
        resource: (group["minReplicas"], group["maxReplicas"])
        for group in groups.values()
        for resource in re.findall(r'\\"([a-z-]+)\\"', group["rayStartParams"]["resources"])
    }

    for deployment in serve_config_of(manifests)["applications"][0]["deployments"]:
        (resource,) = deployment["ray_actor_options"]["resources"]
        scaling = deployment.get("autoscaling_config", {})
        count = deployment.get("num_replicas")
        least_and_most = (scaling.get("min_replicas", count), scaling.get("max_replicas", count))
        assert least_and_most == ((1, 1) if deployment["name"] == "housekeeper" else offers[resource])


def test_what_a_replica_holds_does_not_scale() -> None:
    """A task that runs counts as the work of one replica, however many a replica may hold."""
    values = VALUES["scale-to-zero"] | {"serve": {"capacity": 8}}

    (application,) = serve_config_of(render(values))["applications"]

    (scaled,) = [each for each in application["deployments"] if "autoscaling_config" in each]
    assert application["args"]["capacity"] == 8
    assert scaled["autoscaling_config"]["policy"]["policy_kwargs"]["capacity"] == 1


@EVERY
def test_every_variable_is_a_setting(values: dict[str, Any]) -> None:
    """Each UXO_* variable of a container is one that the service reads."""
    known = {f"UXO_{field.upper()}" for field in Settings.model_fields}

    named = {
        variable["name"]
        for _, template in pods_of(render(values))
        for container in containers_of(template)
        for variable in container.get("env", ())
    }

    assert {name for name in named if name.startswith("UXO_")} - known == set()
    assert {"UXO_DATABASE_URL", "UXO_SECRET", "UXO_BUCKET", "UXO_DENIED_NETWORKS"} <= named


def test_every_other_setting_can_be_given() -> None:
    """What the chart does not set by itself stands in ``settings``, and nothing else may."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8"))
    template = next(template for name, template in pods_of(render(VALUES["bootstrap-keys"])) if name == "flux")
    own = {variable["name"] for variable in template["spec"]["containers"][0]["env"]}
    # What pods share no address with, and what the bucket's values become when they are not empty.
    own |= {"UXO_HOST", "UXO_PORT", "UXO_METRICS_PORT", "UXO_BUCKET_PREFIX", "UXO_S3_ENDPOINT", "UXO_S3_REGION"}
    # Ray asks for its token in every pod.
    own |= {"UXO_ALLOW_OPEN_RAY"}
    own -= set(values_of("values.yaml")["settings"])

    given = set(schema["properties"]["settings"]["properties"])

    assert given == {f"UXO_{field.upper()}" for field in Settings.model_fields} - own


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": 3}, "replicas"),
        ({"gateway": {"replica": 3}}, "replica"),
        ({"settings": {"UXO_BUKET": "x"}}, "UXO_BUKET"),
        ({"settings": {"UXO_SECRET": "x" * 32}}, "UXO_SECRET"),
        ({"secrets": {"database": {"value": "postgresql://"}}}, "value"),
        ({"images": {"engine": "uxo-serve-engine"}}, "engine"),
        ({"images": {"engine": "uxo-serve-engine:latest"}}, "engine"),
        ({"gpuGroups": {"flux": {"models": ["sdxl"]}}}, "flux"),
        ({"gpuGroups": {"ingress": values_of("values.yaml")["gpuGroups"]["flux"]}}, "ingress"),
        ({"gpuGroups": {"Flux": values_of("values.yaml")["gpuGroups"]["flux"]}}, "Flux"),
        ({"weights": {"source": "claim"}}, "claim"),
        ({"weights": {"source": "copy"}}, "copy"),
        ({"weights": {"source": "copy", "copy": {"image": "weights:latest", "command": ["cp"]}}}, "image"),
        ({"migration": {"post": True}}, "post"),
        (
            {"migration": {"post": "uxo-serve-gateway:0.0.9"}},
            "migration.post is for uxo-serve-gateway:0.0.9, and images",
        ),
        ({"bucket": {"name": ""}}, "bucket"),
        ({"upgrade": "Recreate"}, "upgrade"),
        ({"network": {"clusterRanges": []}}, "clusterRanges"),
        ({"network": {"callers": {"from": []}}}, "from"),
        ({"monitoring": {"alerts": {"errorRatio": 2}}}, "errorRatio"),
        ({"monitoring": {"grafana": True}}, "grafana"),
        ({"tracing": {"endpoint": "http://collector:4318"}}, "tracing"),
        ({"gateway": {"pods": 0}}, "pods"),
        ({"serve": {"graceS": 300}}, "serve.graceS is 300, and calls are held for UXO_SYNC_WAIT_S=300"),
        ({"settings": {"UXO_SYNC_WAIT_S": "400"}}, "serve.graceS is 330, and calls are held for UXO_SYNC_WAIT_S=400"),
        ({"settings": {"UXO_SYNC_WAIT_S": "5 minutes"}}, "UXO_SYNC_WAIT_S"),
        ({"gpuGroups": {"flux": {"pods": 0}}}, "nothing would ever change that"),
        ({"gpuGroups": {"flux": {"scale": {"maxPods": 2}}}}, "flux"),
        ({"gpuGroups": {"flux": SCALE | {"pods": 3}}, **SCALES}, "maxPods is less than pods"),
        ({"gpuGroups": {"flux": SCALE}}, "scale needs autoscaler.enabled"),
        (
            {"gpuGroups": {"flux": SCALE}, **SCALES, **LATE},
            "monitoring.alerts.claimDelayS is 8, and gpuGroups.flux may",
        ),
        ({"autoscaler": {"enabled": True}}, "autoscaler.enabled needs network.kubernetes.to"),
    ],
)
def test_a_value_that_there_is_not_is_refused(values: dict[str, Any], named: str, major: int) -> None:
    """A key or value that the chart does not know is refused by its name."""
    with pytest.raises(Refused, match=named):
        render(values, major=major)


def test_the_chart_knows_for_how_long_calls_are_held() -> None:
    """Where the values do not say it, a grace is held against the default of the settings."""
    wait_s = Settings().sync_wait_s

    render({"serve": {"graceS": int(wait_s) + 1}})

    with pytest.raises(Refused, match=f"UXO_SYNC_WAIT_S={wait_s:g} "):
        render({"serve": {"graceS": int(wait_s)}})


def test_a_digest_is_an_image() -> None:
    """Images may be named by their digest."""
    engine = f"registry.example/engine@sha256:{'0f' * 32}"

    pods = dict(pods_of(render({"images": {"engine": engine}})))

    assert pods["flux"]["spec"]["containers"][0]["image"] == engine


def test_the_version_of_ray_is_the_one_we_run() -> None:
    """KubeRay is told the version that the images hold."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()

    assert f"ray=={values_of('values.yaml')['rayVersion']}" in pins


def test_what_old_versions_use_goes_only_when_asked() -> None:
    """Tables are changed before an install or upgrade, and cleared up after an upgrade that says so."""
    first, last = (of_kind(render(VALUES[name]), "Job") for name in ("defaults", "post-migration"))

    assert {name: job["metadata"]["annotations"]["helm.sh/hook"] for name, job in last.items()} == {
        "migrate": "pre-install,pre-upgrade",
        "migrate-post": "post-upgrade",
    }
    assert list(first) == ["migrate"]
    assert last["migrate-post"]["spec"]["template"]["spec"]["containers"][0]["command"] == ["uxo", "migrate", "--post"]


def test_a_claim_of_our_own_is_used() -> None:
    """A shared volume that is there already is mounted, and none is made."""
    manifests = render({"folder": {"claim": "ours"}})

    assert of_kind(manifests, "PersistentVolumeClaim") == {}
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for _, template in pods_of(manifests)
        for volume in template["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"ours"}


def test_copied_weights_have_a_volume_of_their_size() -> None:
    """What is copied lies in a volume of the pod's own, which its bound on local disk does not count."""
    values = {"weights": COPIED | {"copy": COPIED["copy"] | {"size": "120Gi", "storageClassName": "fast"}}}

    pods = dict(pods_of(render(values)))

    (volume,) = [volume for volume in pods["flux"]["spec"]["volumes"] if volume["name"] == "weights"]
    claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("fast", "120Gi")
