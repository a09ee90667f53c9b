"""From a catalog entry to a pipeline, and what stays unloaded until then."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from models.catalog import CATALOG
from models.loading import TINY, load_pipeline

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


@pytest.mark.parametrize("weights", ["", "TINY", "black-forest-labs/FLUX.1-dev", "/models/flux"])
def test_unknown_weights_are_named(weights: str) -> None:
    """Weights that cannot be loaded are refused with the variable, its value and what to set instead."""
    with pytest.raises(ValueError, match="cannot be loaded yet; use UXO_WEIGHTS=tiny") as refusal:
        load_pipeline(CATALOG["uno"], weights=weights, device="cpu")

    assert f"UXO_WEIGHTS={weights!r}" in str(refusal.value)


@pytest.mark.parametrize("name", CATALOG)
def test_the_catalogs_pipeline_is_built(name: str) -> None:
    """With tiny weights, a model's entry becomes an object of the very class that the entry names."""
    pipeline = load_pipeline(CATALOG[name], weights=TINY, device="cpu")

    assert f"{type(pipeline).__module__}:{type(pipeline).__name__}" == CATALOG[name].pipeline


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """Neither the HTTP side nor the engine's own files bring torch, its kin or Ray with them."""
    asking = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps([LIGHT, HEAVY])], capture_output=True, text=True, check=True
    )

    assert json.loads(asking.stdout) == {name: [] for name in LIGHT}
