"""What the documents of a cluster have people type: it parses, means what the chart makes, and does what is said."""

from __future__ import annotations

import re
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_chart import CHART, HELM_3, KUBERNETES, ROOT, containers_of, of_kind, pods_of, render, values_of
from monitoring import program

from deployments.bodies import MAX_BODY_BYTES
from deployments.settings import Settings

PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("kubernetes", "operations")}
BASH = "/bin/bash"
#: What KubeRay adds to the pods that it makes: the head's autoscaler, and what waits for the head before each worker.
OF_KUBERAY = {"autoscaler", "wait-gcs-ready"}


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of a page that are in a language, as they stand there."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


def the_block(page: str, language: str, *, with_word: str) -> str:
    """Return the one block in which a word stands."""
    (found,) = [block for block in blocks(page, language) if with_word in block]
    return found


def ours() -> dict[str, Any]:
    """Return the values that the page has people write into ``ours.yaml``."""
    values: dict[str, Any] = yaml.safe_load(the_block("kubernetes", "yaml", with_word="UXO_PUBLIC_URL"))
    return values


@pytest.mark.parametrize("page", PAGES)
def test_a_shell_takes_every_block(page: str) -> None:
    """There is nothing in a block for the shell that bash cannot read."""
    text = "\n".join(blocks(page, "sh"))

    ended = subprocess.run([BASH, "-n"], input=text, capture_output=True, text=True, check=False)

    assert text
    assert (ended.returncode, ended.stderr) == (0, "")


def test_commands_mean_pods_and_containers_that_there_are() -> None:
    """Each part that a label selects, and each container that a command names, is the chart's or KubeRay's."""
    templates = dict(
        pods_of(render({"weights": {"source": "copy", "copy": {"image": "weights:1", "command": ["cp"]}}}))
    )
    text = "\n".join(PAGES.values())

    parts = set(re.findall(r"uxo-serve/part!?=(\w+)", text)) | set(re.findall(r"\bpods (\w+) \|", text))
    containers = set(re.findall(r"kubectl [^`\n]*? -c ([\w-]+)", text)) | set(re.findall(r"`-c ([\w-]+)`", text))

    there = {container["name"] for container in chain.from_iterable(map(containers_of, templates.values()))}
    assert parts == {template["metadata"]["labels"]["uxo-serve/part"] for template in templates.values()}
    assert containers <= there | OF_KUBERAY


def test_what_stands_in_for_a_pod_is_explained() -> None:
    """The runbook says how the pods are named that it writes POD_OF_… for, before it does so."""
    explained = PAGES["operations"].index("by which `POD_OF_…` below is meant")

    assert PAGES["operations"].find("POD_OF_") in range(explained, explained + 40)
    assert "POD_OF_" not in PAGES["kubernetes"]


def test_what_people_are_told_to_write_renders() -> None:
    """The values of the page are taken beside those of each file for a kind of cluster."""
    for name in ("values-one-gpu.yaml", "values-fleet.yaml", "values-scale-to-zero.yaml"):
        both = values_of(name) | ours()

        assert dict(pods_of(render(both)))["head"]["spec"]["containers"][0]["image"] == ours()["images"]["gateway"]


def test_the_ingress_of_the_page_lets_every_call_through() -> None:
    """It leads to the Service that the chart makes, for longer than calls are held, and takes the largest body."""
    ingress = yaml.safe_load(the_block("kubernetes", "yaml", with_word="kind: Ingress"))
    told = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    (service,) = of_kind(render({}), "Service").items()

    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]

    assert backend["name"] == f"uxo-{service[0]}"
    assert backend["port"]["name"] in {port["name"] for port in service[1]["spec"]["ports"]}
    assert Settings().sync_wait_s < float(told["proxy-read-timeout"]) == float(told["proxy-send-timeout"])
    assert told["proxy-body-size"] == f"{MAX_BODY_BYTES // 1024**2}m"


def test_rules_without_an_operator_are_a_file_for_prometheus(tmp_path: Path) -> None:
    """The command makes a file of rules that promtool takes, with every alert for the namespace that it names."""
    render({})
    (tmp_path / "ours.yaml").write_text(yaml.safe_dump(ours()))
    command = the_block("kubernetes", "sh", with_word="templates/alerts.yaml")
    # Helm 3.6 takes itself to speak to an older Kubernetes than the chart is for.
    command = command.replace(
        "helm template uxo helm/uxo-serve", f"{HELM_3} template uxo {CHART} --kube-version {KUBERNETES}"
    )
    command = command.replace("promtool", program("promtool"))

    ended = subprocess.run([BASH, "-ec", command], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    rules = yaml.safe_load((tmp_path / "uxo-rules.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    told = yaml.safe_load((CHART / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [rule["alert"] for rule in told]
    assert any('namespace="pictures"' in rule["expr"] for rule in rules)


def test_prometheus_without_an_operator_finds_what_the_chart_makes(tmp_path: Path) -> None:
    """Prometheus takes the config of the page, which keeps the pods and the port that bear metrics."""
    (tmp_path / "uxo-rules.yaml").write_text("groups: []\n")
    text = the_block("kubernetes", "yaml", with_word="scrape_configs")
    # Debian builds Prometheus without the discovery of Kubernetes.
    known = text.replace("kubernetes_sd_configs: [{role: pod, namespaces: {names: [pictures]}}]", "static_configs: []")
    assert known != text
    (tmp_path / "prometheus.yaml").write_text(known)
    promtool = [program("promtool"), "check", "config", "prometheus.yaml"]

    ended = subprocess.run(promtool, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    kept = [each["regex"] for each in yaml.safe_load(text)["scrape_configs"][0]["relabel_configs"] if "regex" in each]
    _, part, port = kept
    with_metrics = {
        template["metadata"]["labels"]["uxo-serve/part"]
        for _, template in pods_of(render({}))
        for container in template["spec"]["containers"]
        if port in {each["name"] for each in container.get("ports", ())}
    }
    assert set(part.split("|")) == with_metrics
