"""What every pod of the Helm chart is held to, and who may reach whom."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from helm_chart import (
    API_SERVER,
    RELEASE,
    cluster_of,
    containers_of,
    of_kind,
    only,
    pods_of,
    render,
    serve_config_of,
    values_of,
)
from monitoring import MONITORED

from deployments.tenants.keys import NO_KEYS

VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one-gpu": values_of("values-one-gpu.yaml"),
    "fleet": values_of("values-fleet.yaml") | MONITORED,
    "scale-to-zero": values_of("values-scale-to-zero.yaml") | {"network": API_SERVER},
    "copied-weights": {
        "weights": {"source": "copy", "copy": {"image": "weights:1", "command": ["cp"], "secret": "store"}}
    },
    "post-migration": {"migration": {"post": values_of("values.yaml")["images"]["gateway"]}},
}
EVERY = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
#: For how many seconds Ray lets a node end its work by itself after SIGTERM.
DRAIN_TIMEOUT = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
#: Variables that hold what nobody may read in a manifest.
SECRET_VARIABLES = {
    "UXO_DATABASE_URL",
    "UXO_SECRET",
    "UXO_BOOTSTRAP_KEYS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
}
#: What keeps the service from making a demo tenant, whose key would lie in the shared folder.
NOBODY_AT_FIRST = {"name": "UXO_BOOTSTRAP_KEYS", "value": NO_KEYS}


@EVERY
def test_no_container_can_do_more_than_it_must(values: dict[str, Any]) -> None:
    """Every container is nobody in particular, writes to no image, has no capability and cannot get any."""
    manifests = render(values)
    contexts = [
        container["securityContext"] for _, template in pods_of(manifests) for container in containers_of(template)
    ]
    if cluster_of(manifests)["enableInTreeAutoscaling"]:
        contexts.append(cluster_of(manifests)["autoscalerOptions"]["securityContext"])

    for context in contexts:
        assert context == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_a_profile_of_ones_own_is_for_the_containers_that_decode_pictures() -> None:
    """A profile of seccomp that lies on the nodes is the replicas', and every other container keeps the runtime's."""
    manifests = render(
        {"seccomp": {"localhostProfile": "profiles/uxo.json"}, "weights": {"source": "claim", "claim": "w"}}
    )

    profiles = {
        (name, container["name"]): container["securityContext"]["seccompProfile"]
        for name, template in pods_of(manifests)
        for container in containers_of(template)
    }

    assert profiles.pop(("flux", "ray-worker")) == {"type": "Localhost", "localhostProfile": "profiles/uxo.json"}
    assert all(profile == {"type": "RuntimeDefault"} for profile in profiles.values())


@EVERY
def test_no_pod_shares_more_than_it_must(values: dict[str, Any]) -> None:
    """Every pod runs as nobody, without the host's network or folders and without a token of Kubernetes."""
    for name, template in pods_of(render(values)):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume], name


@EVERY
def test_every_container_is_bounded(values: dict[str, Any]) -> None:
    """Every container asks for as much as it may take of processors, memory and disk."""
    for name, template in pods_of(render(values)):
        for container in containers_of(template):
            assert container["resources"]["requests"] == container["resources"]["limits"], name
            assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["limits"]), name


@EVERY
def test_only_the_autoscaler_speaks_to_kubernetes(values: dict[str, Any]) -> None:
    """The token of the head's account is mounted by the autoscaler's container, and by no container of ours."""
    manifests = render(values)
    mounted = [
        mount["name"]
        for _, template in pods_of(manifests)
        for container in containers_of(template)
        for mount in container["volumeMounts"]
    ]

    assert "kubernetes-token" not in mounted
    if cluster_of(manifests)["enableInTreeAutoscaling"]:
        assert "kubernetes-token" in [m["name"] for m in cluster_of(manifests)["autoscalerOptions"]["volumeMounts"]]


@EVERY
def test_every_kind_of_pod_has_an_account_of_its_own(values: dict[str, Any]) -> None:
    """No pod shares its account with another kind, or has the namespace's; the migration's is there before its Job."""
    manifests = render(values)
    accounts = of_kind(manifests, "ServiceAccount")

    named = {
        template["metadata"]["labels"]["uxo-serve/part"]: template["spec"]["serviceAccountName"]
        for _, template in pods_of(manifests)
    }

    assert named == {part: f"{RELEASE}-{part}" for part in ("head", "gateway", "gpu", "migration")}
    assert set(accounts) == set(named)
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())
    assert int(accounts["migration"]["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0


def test_a_role_is_bound_to_the_accounts_that_reach_the_bucket() -> None:
    """What the values say of accounts stands on those of the gateway and the GPU pods, and on no other."""
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/pictures"}

    accounts = of_kind(render({"serviceAccount": {"annotations": role}}), "ServiceAccount")

    bear = {
        name for name, account in accounts.items() if role.items() <= account["metadata"].get("annotations", {}).items()
    }
    assert bear == {"gateway", "gpu"}


@EVERY
def test_secrets_are_only_named(values: dict[str, Any]) -> None:
    """No object holds a secret: variables that do are taken from a Secret that somebody else has made."""
    manifests = render(values)
    variables = [
        variable
        for _, template in pods_of(manifests)
        for container in containers_of(template)
        for variable in container.get("env", ())
    ]

    assert of_kind(manifests, "Secret") == {}
    assert set(of_kind(manifests, "ConfigMap")) <= {"dashboard"}
    for variable in variables:
        is_secret = variable["name"] in SECRET_VARIABLES and variable != NOBODY_AT_FIRST
        assert ("secretKeyRef" in variable.get("valueFrom", {})) == is_secret
    assert "valueFrom" in cluster_of(manifests)["gcsFaultToleranceOptions"]["redisPassword"]


@EVERY
def test_no_tenant_is_there_that_nobody_made(values: dict[str, Any]) -> None:
    """Every pod of Ray is told that nobody has a key at first, unless a Secret names somebody."""
    for part in ("head", "gateway"):
        variables = dict(pods_of(render(values)))[part]["spec"]["containers"][0]["env"]
        assert NOBODY_AT_FIRST in variables, part

    named = render(values | {"secrets": {"bootstrapKeys": {"name": "first-keys"}}})
    assert not [
        template for _, template in pods_of(named) if NOBODY_AT_FIRST in template["spec"]["containers"][0]["env"]
    ]


@EVERY
def test_only_the_migration_may_change_tables(values: dict[str, Any]) -> None:
    """The role that changes tables is in the migration's pods alone."""
    for name, template in pods_of(render(values)):
        (url,) = [
            each["valueFrom"]["secretKeyRef"]["name"]
            for each in template["spec"]["containers"][0]["env"]
            if each["name"] == "UXO_DATABASE_URL"
        ]
        assert url == ("uxo-migration" if name.startswith("migrate") else "uxo-database")


@EVERY
def test_ray_asks_for_a_token_and_is_not_public(values: dict[str, Any]) -> None:
    """Ray's ports want a token, and the head has neither an Ingress nor a Service for strangers."""
    manifests = render(values)
    cluster = cluster_of(manifests)

    assert cluster["authOptions"]["mode"] == "token"
    assert (cluster["headGroupSpec"]["serviceType"], cluster["headGroupSpec"]["enableIngress"]) == ("ClusterIP", False)
    assert only(manifests, "RayService")["spec"]["excludeHeadPodFromServeSvc"]
    assert set(of_kind(manifests, "Service")) == {"gateway"}
    assert of_kind(manifests, "Ingress") == {}


@EVERY
def test_calls_go_to_the_http_side_alone(values: dict[str, Any]) -> None:
    """The Service for calls leads to pods of the gateway and their port of Serve, and nobody calls any other pod."""
    manifests = render(values)
    service = of_kind(manifests, "Service")["gateway"]["spec"]
    callers = of_kind(manifests, "NetworkPolicy")["callers"]["spec"]["podSelector"]

    meant = {
        name: {"name": service["ports"][0]["targetPort"], "containerPort": 8000}
        in template["spec"]["containers"][0]["ports"]
        for name, template in pods_of(manifests)
        if service["selector"].items() <= template["metadata"]["labels"].items()
    }

    assert service["type"] == "ClusterIP"
    assert meant == {"gateway": True}
    assert callers["matchExpressions"] == [{"key": "uxo-serve/part", "operator": "In", "values": ["gateway"]}]


def test_kuberay_finds_the_port_that_it_makes_its_own_service_from() -> None:
    """A head that names ports names Serve's among them: without it KubeRay stops there, and changes over to nothing.

    Source: ray-project/kuberay v1.5.1 to v1.7.0, controllers/ray/common/service.go, ``BuildServeService``.
    """
    head = dict(pods_of(render({})))["head"]["spec"]["containers"][0]

    assert {"name": "serve", "containerPort": 8000} in head["ports"]


@EVERY
def test_everything_is_closed_that_is_not_opened(values: dict[str, Any]) -> None:
    """All our pods are closed both ways, and strangers are let in at three ports: calls, metrics, the operator."""
    policies = of_kind(render(values), "NetworkPolicy")
    closed = policies.pop("closed")["spec"]
    doors = {
        name: [port["port"] for rule in policy["spec"].get("ingress", ()) for port in rule.get("ports", ())]
        for name, policy in policies.items()
        if "Ingress" in policy["spec"]["policyTypes"]
    }

    assert closed == {
        "podSelector": {"matchLabels": {"uxo-serve/release": RELEASE}},
        "policyTypes": ["Ingress", "Egress"],
    }
    # Among themselves Ray's pods speak at any port.
    assert doors == {"ray": [], "callers": [8000], "scraper": [9464], "operator": [8265]}


def test_traces_have_a_door_to_their_collector() -> None:
    """Pods that make spans are told where the collector is, and reach it at its port; without one there is no door."""
    collector = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tracing"}}}]
    endpoint = "http://collector.tracing:4319"

    manifests = render({"tracing": {"endpoint": endpoint, "to": collector, "port": 4319}})

    door = of_kind(manifests, "NetworkPolicy")["tracing"]["spec"]
    (parts,) = (each["values"] for each in door["podSelector"]["matchExpressions"])
    told = {
        template["metadata"]["labels"]["uxo-serve/part"]
        for _, template in pods_of(manifests)
        if {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": endpoint} in template["spec"]["containers"][0]["env"]
    }
    assert door["egress"] == [{"to": collector, "ports": [{"protocol": "TCP", "port": 4319}]}]
    assert set(parts) == {"gateway", "gpu"} <= told
    assert "tracing" not in of_kind(render({}), "NetworkPolicy")


@EVERY
def test_every_pod_is_meant_by_the_policies(values: dict[str, Any]) -> None:
    """Every pod bears the label that all of them are closed by, and a part that a policy opens a door for."""
    manifests = render(values)
    parts = {
        part
        for policy in of_kind(manifests, "NetworkPolicy").values()
        for rule in policy["spec"]["podSelector"].get("matchExpressions", ())
        for part in rule["values"]
    }

    for name, template in pods_of(manifests):
        labels = template["metadata"]["labels"]
        assert labels["uxo-serve/release"] == RELEASE, name
        assert labels["uxo-serve/part"] in parts, name


@pytest.mark.parametrize(
    ("address", "is_open"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("169.254.169.254", False),
        ("10.42.1.7", False),
        ("203.0.114.9", False),
        ("127.0.0.1", False),
        ("100.100.100.200", False),
        ("fd00:ec2::254", False),
        ("::1", False),
        ("fe80::1", False),
    ],
)
def test_the_public_internet_is_what_is_not_closed(address: str, is_open: bool) -> None:  # noqa: FBT001 -- a table
    """References, webhooks and uploads reach public addresses, and neither the cluster nor its metadata."""
    manifests = render({"network": {"clusterRanges": ["10.42.0.0/16", "203.0.114.0/24"]}})
    (rule,) = of_kind(manifests, "NetworkPolicy")["public"]["spec"]["egress"]

    reached = [
        block
        for block in (peer["ipBlock"] for peer in rule["to"])
        if ip_address(address) in ip_network(block["cidr"])
        and not any(ip_address(address) in ip_network(each) for each in block["except"])
    ]

    assert bool(reached) == is_open


@EVERY
def test_a_stop_is_long_enough(values: dict[str, Any]) -> None:
    """A pod that is told to stop has longer than Serve gives its replica."""
    manifests = render(values)
    grace_s = serve_config_of(manifests)["applications"][0]["args"]["grace_s"]

    for name, template in pods_of(manifests):
        if not name.startswith("migrate"):
            assert template["spec"]["terminationGracePeriodSeconds"] > grace_s, name


@EVERY
def test_a_gpu_pod_ends_its_work_before_it_is_stopped(values: dict[str, Any]) -> None:
    """Its replica is told to, by a command that the image has; Kubernetes itself would ask nobody."""
    templates = dict(pods_of(render(values)))
    stops = {
        name: containers_of(template)[-1]["lifecycle"]["preStop"]["exec"]["command"]
        for name, template in templates.items()
        if template["metadata"]["labels"].get("uxo-serve/part") == "gpu"
    }

    assert stops
    assert set(map(tuple, stops.values())) == {("uxo", "drain")}


@EVERY
def test_an_ingress_answers_what_it_holds_before_its_pod_ends(values: dict[str, Any]) -> None:
    """Ray gives a gateway pod that Kubernetes ends as long as Serve gives its ingress, within what the pod has."""
    manifests = render(values)
    grace_s = serve_config_of(manifests)["applications"][0]["args"]["grace_s"]
    spec = dict(pods_of(manifests))["gateway"]["spec"]

    (told,) = [each for each in spec["containers"][0]["env"] if each["name"] == DRAIN_TIMEOUT]

    assert float(told["value"]) == grace_s < spec["terminationGracePeriodSeconds"]


def test_ray_still_reads_how_long_a_pod_drains() -> None:
    """The variable by which a gateway pod is told its time is one that this Ray knows."""
    from ray._private import ray_constants  # noqa: PLC0415 -- takes seconds

    assert hasattr(ray_constants, DRAIN_TIMEOUT)


@EVERY
def test_one_pod_of_a_kind_leaves_at_a_time(values: dict[str, Any]) -> None:
    """Every group of pods has a budget whose labels are its own, and which leaves all but one of its least."""
    manifests = render(values)
    budgets = of_kind(manifests, "PodDisruptionBudget")
    groups = {group["groupName"]: group for group in cluster_of(manifests)["workerGroupSpecs"]}

    assert set(budgets) == set(groups)
    for name, budget in budgets.items():
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        labels = {each: group["template"]["metadata"]["labels"] for each, group in groups.items()}
        assert [each for each, has in labels.items() if wanted <= has.items()] == [name]
        # A number, and no other bound: a RayCluster says nobody how many pods it should have, which all others need.
        assert set(budget["spec"]) == {"selector", "minAvailable"}
        assert budget["spec"]["minAvailable"] == max(groups[name]["minReplicas"] - 1, 0)
