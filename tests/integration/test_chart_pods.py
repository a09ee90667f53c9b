"""What the chart tells Ray and Kubernetes of each pod, and what an operator can give it besides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helm_chart import API_SERVER, Manifest, Refused, cluster_of, notes, of_kind, pods_of, render, values_of

from deployments.local import OBJECT_STORE_BYTES

VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "fleet": values_of("values-fleet.yaml"),
    "scale-to-zero": values_of("values-scale-to-zero.yaml") | {"network": API_SERVER},
}
EVERY = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


def start_params(manifests: list[Manifest]) -> dict[str, dict[str, str]]:
    """Return what each group of pods starts Ray with, and the head."""
    cluster = cluster_of(manifests)
    groups = {group["groupName"]: group["rayStartParams"] for group in cluster["workerGroupSpecs"]}
    return groups | {"head": cluster["headGroupSpec"]["rayStartParams"]}


def quantity(text: str) -> float:
    """Return a size as Kubernetes writes it, in bytes."""
    return float(text.removesuffix("Gi")) * 1024**3


@EVERY
def test_what_ray_shares_fits_into_shared_memory(values: dict[str, Any]) -> None:
    """Each node says how large its store of objects is, as on one machine, and has more shared memory than that."""
    manifests = render(values)
    params = start_params(manifests)

    assert {int(each["object-store-memory"]) for each in params.values()} == {OBJECT_STORE_BYTES}
    for name, template in pods_of(manifests):
        for volume in template["spec"]["volumes"]:
            if volume["name"] == "shared-memory":
                assert name in params
                assert quantity(volume["emptyDir"]["sizeLimit"]) > OBJECT_STORE_BYTES


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb"])
def test_ray_is_told_of_gpus_whatever_they_are_called(resource: str) -> None:
    """Ray knows as many GPUs as the pod asks for, also where their name does not end in gpu."""
    manifests = render({"gpuGroups": {"flux": {"gpus": 2, "gpuResource": resource}}})

    (container,) = dict(pods_of(manifests))["flux"]["spec"]["containers"]

    assert container["resources"]["limits"][resource] == 2
    assert start_params(manifests)["flux"]["num-gpus"] == "2"


@EVERY
def test_a_pod_that_hangs_is_ended_soon(values: dict[str, Any]) -> None:
    """Where a probe ends a container it has seconds, and not the minutes of one that is told to go."""
    for name, template in pods_of(render(values)):
        if not name.startswith("migrate"):
            for container in template["spec"]["containers"]:
                assert container["livenessProbe"]["terminationGracePeriodSeconds"] == 30, name
                assert "terminationGracePeriodSeconds" not in container["readinessProbe"], name


@pytest.mark.parametrize(
    ("cpu", "has_room"), [("1", False), ("1000m", False), ("900m", False), ("1001m", True), ("1.5", True)]
)
def test_an_ingress_and_the_housekeeper_have_room_in_one_pod(cpu: str, has_room: bool) -> None:  # noqa: FBT001 -- a table
    """A gateway whose processors do not hold both is refused; Ray counts what is begun as a whole one."""
    values = {"gateway": {"resources": {"cpu": cpu}}}
    if has_room:
        assert start_params(render(values))
        return

    with pytest.raises(Refused, match=f"gateway.resources.cpu is {cpu}, and an ingress takes 1"):
        render(values)


def test_whoever_installs_random_weights_is_told() -> None:
    """The notes warn of weights that draw nothing that was asked for, and say nothing where there are others."""
    assert "weights.source is `tiny`" in notes({})
    assert "WARNING" not in notes({"weights": {"source": "claim", "claim": "ours"}})
    assert "-gateway, port 8000" in notes({})


PLACE = {
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}},
    "priorityClassName": "pictures",
    "runtimeClassName": "nvidia",
}


@pytest.mark.parametrize("part", ["head", "gateway", "flux"])
def test_an_operator_places_each_kind_of_pod(part: str) -> None:
    """Affinity, priority and runtime of the head, the gateway and a GPU group are theirs alone."""
    manifests = render({"gpuGroups": {"flux": PLACE}} if part == "flux" else {part: PLACE})

    placed = {name: {key: template["spec"].get(key) for key in PLACE} for name, template in pods_of(manifests)}

    assert placed.pop(part) == PLACE
    assert all(each == dict.fromkeys(PLACE) for each in placed.values())


def test_what_an_operator_adds_is_in_every_pod() -> None:
    """Variables, volumes and mounts reach Ray's containers, the one that fetches weights and the migration's."""
    added: dict[str, Any] = {
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ours/ca.crt"}],
        "extraVolumes": [{"name": "ours", "configMap": {"name": "our-ca"}}],
        "extraVolumeMounts": [{"name": "ours", "mountPath": "/etc/ours", "readOnly": True}],
    }
    weights = {"source": "copy", "copy": {"image": "weights:1", "command": ["cp"]}}

    pods = dict(pods_of(render(added | {"weights": weights})))

    assert {"head", "gateway", "flux", "migrate"} == set(pods)
    fetching = pods["flux"]["spec"]["initContainers"][0]
    for container in (fetching, *(template["spec"]["containers"][0] for template in pods.values())):
        assert added["extraEnv"][0] in container["env"], container["name"]
        assert added["extraVolumeMounts"][0] in container["volumeMounts"], container["name"]
    assert all(added["extraVolumes"][0] in template["spec"]["volumes"] for template in pods.values())


@pytest.mark.parametrize(
    "added",
    [
        {"extraEnv": [{"name": "UXO_SECRET", "value": "x" * 32}]},
        {"extraEnv": [{"name": "HOME", "value": "/root"}]},
        {"extraVolumes": [{"name": "node", "hostPath": {"path": "/"}}]},
        {"extraVolumes": [{"name": "folder", "emptyDir": {}}]},
        {"extraVolumeMounts": [{"name": "ours", "mountPath": "relative"}]},
        {"gateway": {"affinities": {}}},
    ],
    ids=json.dumps,
)
def test_what_is_ours_or_the_nodes_cannot_be_added(added: dict[str, Any]) -> None:
    """Settings stand where they are checked, volumes of ours stay ours, and no pod gets a folder of its node."""
    for major in (3, 4):
        with pytest.raises(Refused, match=next(iter(added))):
            render(added, major=major)


def test_nothing_is_added_by_itself() -> None:
    """Without such values there is no ConfigMap and no volume but those that the chart needs."""
    manifests = render({})
    names = {volume["name"] for _, template in pods_of(manifests) for volume in template["spec"]["volumes"]}

    assert of_kind(manifests, "ConfigMap") == {}
    assert names == {"passing", "shared-memory", "folder"}
