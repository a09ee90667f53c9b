"""From a catalog entry to a pipeline, and what stays unloaded until then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.catalog import CATALOG
from models.loading import TINY, UnusableWeights, load_pipeline, load_pipelines

HEAVY = ["torch", "diffusers", "transformers", "ray"]
#: What processes without a device import; the ones with most to import come last.
LIGHT = [
    "models.loading",
    "models.catalog",
    "models.engine",
    "deployments.tasks.store",
    "deployments.operations",
    "deployments.dialects",
    "deployments.replica",
    "deployments.ingress",
    "deployments.cli",
]
#: Imports each module and says which heavy ones are there afterwards.
ASK = """
import json, sys
from importlib import import_module
light, heavy = json.loads(sys.argv[1])
print(json.dumps({name: [import_module(name)] and [one for one in heavy if one in sys.modules] for name in light}))
"""


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ("", "write tiny, a folder that is there, or a hub id"),
        ("TINY", "write tiny, a folder that is there, or a hub id"),
        ("/models/flux", "write tiny, a folder that is there, or a hub id"),
        ("nobody-is-called-so/FLUX.1-dev", "not in this machine's Hugging Face cache; nothing is downloaded"),
    ],
)
def test_unknown_weights_are_named(weights: str, reason: str) -> None:
    """Weights that are not there are refused with the variable, its value and what to set instead."""
    with pytest.raises(UnusableWeights, match=reason) as refusal:
        load_pipeline(CATALOG["uno"], weights=weights, device="cpu")

    assert f"UXO_WEIGHTS={weights!r}" in str(refusal.value)


@pytest.mark.parametrize("name", CATALOG)
def test_the_catalogs_pipeline_is_built(name: str) -> None:
    """With tiny weights, a model's entry becomes an object of the very class that the entry names."""
    pipeline = load_pipeline(CATALOG[name], weights=TINY, device="cpu")

    assert f"{type(pipeline).__module__}:{type(pipeline).__name__}" == CATALOG[name].pipeline


def test_models_of_one_device_are_built_together() -> None:
    """Pipelines that share a device are loaded by one call, under their models' names."""
    pipelines = load_pipelines(list(CATALOG.values()), weights=TINY, device="cpu")

    assert list(pipelines) == list(CATALOG)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    """A folder that holds nothing is refused with the first file that it lacks, and with how many more."""
    with pytest.raises(UnusableWeights, match=r"cannot be loaded: missing: transformer/.* \(and 6 more; uxo weights"):
        load_pipeline(CATALOG["uno"], weights=str(tmp_path), device="cpu")


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """Neither the HTTP side nor the engine's own files bring torch, its kin or Ray with them."""
    asking = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps([LIGHT, HEAVY])], capture_output=True, text=True, check=True
    )

    assert json.loads(asking.stdout) == {name: [] for name in LIGHT}
