"""From a catalog entry to a pipeline, and what stays unloaded until then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from weights_folder import write_hollow

from models.catalog import CATALOG
from models.loading import TINY, UnusableWeights, hash_file, load_pipeline, load_pipelines, record, recorded

HEAVY = ["torch", "diffusers", "transformers", "ray"]
#: What processes without a device import; the ones with most to import come last.
LIGHT = [
    "models.loading",
    "models.catalog",
    "models.engine",
    "deployments.tasks.store",
    "deployments.operations",
    "deployments.dialects",
    "deployments.replica.replica",
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
#: Says where the folder of each name lies, or why it lies nowhere.
FIND = """
import json, sys
from models.loading import UnusableWeights, find_weights

def found(name):
    try:
        return str(find_weights(name))
    except UnusableWeights as error:
        return str(error)

print(json.dumps([found(name) for name in json.loads(sys.argv[1])]))
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


def test_a_flipped_byte_stops_the_start(tmp_path: Path) -> None:
    """A file of a whole folder of released sizes that differs from its record is refused with the variable and name."""
    folder = write_hollow(tmp_path)
    file = folder / "tokenizer_2" / "tokenizer.json"
    record(folder, {file: hash_file(file, progress=lambda _size: None)})
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)

    with pytest.raises(UnusableWeights) as refusal:
        load_pipeline(CATALOG["uno"], weights=str(folder), device="cpu")

    named = f"UXO_WEIGHTS={str(folder)!r} cannot be loaded: tokenizer_2/tokenizer.json is not the file that SHA256SUMS"
    assert str(refusal.value).startswith(named)


def test_what_is_recorded_is_added(tmp_path: Path) -> None:
    """Digests of one model's files leave those of another's in the record, and take the place of their own."""
    uno, uso = (tmp_path / name for name in ("uno.safetensors", "uso.safetensors"))
    record(tmp_path, {uno: "a" * 64, uso: "b" * 64})

    record(tmp_path, {uso: "c" * 64})

    assert recorded(tmp_path) == {uno.name: "a" * 64, uso.name: "c" * 64}


def cached(home: Path, *, commit: str, branch: str) -> Path:
    """Lay out a version of a repository as the hub's own client caches it."""
    repository = home / "hub" / "models--we--flux"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / branch).write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    return snapshot


def test_a_hub_id_is_found_in_the_cache(tmp_path: Path) -> None:
    """An id leads to the version that its branch, or the revision behind it, names; others are not there."""
    first = cached(tmp_path, commit="1" * 40, branch="main")
    second = cached(tmp_path, commit="2" * 40, branch="tried")
    names = ["we/flux", "we/flux@main", f"we/flux@{'1' * 40}", "we/flux@tried", f"we/flux@{'2' * 40}", "we/flux@other"]

    asking = subprocess.run(
        [sys.executable, "-c", FIND, json.dumps(names)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"},  # noqa: TID251 -- for another process
    )

    *found, missing = json.loads(asking.stdout)
    assert found == [str(each) for each in (first, first, first, second, second)]
    assert "not in this machine's Hugging Face cache at revision other; nothing is downloaded" in missing


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """Neither the HTTP side nor the engine's own files bring torch, its kin or Ray with them."""
    asking = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps([LIGHT, HEAVY])], capture_output=True, text=True, check=True
    )

    assert json.loads(asking.stdout) == {name: [] for name in LIGHT}
