"""``uxo weights check``: an operator learns without a GPU whether a folder is what it should be."""

from __future__ import annotations

import json
import re
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result
from weights_folder import BFL, DIFFUSERS, Places, hollow, write_folder, write_hollow

from deployments.cli import app
from models.cost import USUAL_TABLE

PROJECTOR = "uso_flux_v1.0/projector.safetensors"


def uxo(*words: str) -> Result:
    """Call the command."""
    return CliRunner().invoke(app, words)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder of small files, none of which has a released size; nobody changes it."""
    return write_folder(tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("flux", [BFL, DIFFUSERS], ids=["bfl", "diffusers"])
def test_files_of_the_released_sizes_are_all_right(tmp_path: Path, flux: Places) -> None:
    """A folder whose headers are the released ones passes, with the published counts of tensors."""
    folder = write_hollow(tmp_path, flux=flux)

    answer = uxo("weights", "check", str(folder), "--json")

    found = json.loads(answer.output)
    counts = {part["part"]: part["tensors"] for part in found["parts"] if part["files"]}
    assert (answer.exit_code, found["ok"]) == (0, True)
    assert counts.pop("transformer") == (780 if flux is BFL else 1160)
    assert counts == {"vae": 244, "clip": 196, "t5": 219, "uno": 304, "uso": 304, "projector": 18, "siglip": 448}


def test_one_model_needs_its_own_files_alone(tmp_path: Path) -> None:
    """Files of a model that is not asked for may be missing."""
    folder = write_hollow(tmp_path)
    shutil.rmtree(folder / "uso_flux_v1.0")

    answers = [uxo("weights", "check", str(folder), *words).exit_code for words in (["--model", "uno"], [])]

    assert answers == [0, 1]


def test_people_read_what_is_wrong(tmp_path: Path) -> None:
    """The table says of each part where it lies, how much it is, and what is wrong."""
    folder = write_hollow(tmp_path)
    hollow(folder / PROJECTOR, {"feature_embedder.odd": (2,)}, dtype=torch.bfloat16)

    answer = uxo("weights", "check", str(folder))

    lines = {line.split()[0]: line for line in answer.output.splitlines()}
    assert answer.exit_code == 1
    assert "23.80 GB" in lines["transformer"]
    assert lines["transformer"].rstrip().endswith("ok")
    assert "projector.safetensors is another model's" in lines["projector"]


@pytest.mark.parametrize("words", [("/no/such/folder",), (".", "--model", "dream")])
def test_what_is_not_there_is_said(words: tuple[str, ...]) -> None:
    """A folder or a model that there is not is refused as a wrong word."""
    answer = uxo("weights", "check", *words)

    assert answer.exit_code == 2
    assert "Traceback" not in answer.output


def test_tiny_weights_are_not_checked() -> None:
    """Weights that are made up have nothing to check; elsewhere ``tiny`` is not proposed either."""
    tiny, absent = (_said(uxo("weights", "check", word)) for word in ("tiny", "/no/such/folder"))

    assert "tiny weights are made up" in tiny
    assert "cannot be used" not in tiny
    assert "write a folder that is there" in absent
    assert "tiny" not in absent


def _said(answer: Result) -> str:
    return " ".join(answer.output.replace("│", " ").split())


def test_digests_are_shown(small: Path) -> None:
    """Every file is named with its SHA-256, as sha256sum writes it."""
    answer = uxo("weights", "check", str(small), "--digests", "--json")

    files = json.loads(answer.output)["files"]
    assert {name.partition("/")[0] for name in files} >= {"tokenizer", "tokenizer_2", "uno", "flux1-dev.safetensors"}
    assert sum(name.endswith(".safetensors") for name in files) == 8
    assert all(len(each["sha256"]) == 64 and not each["differs"] for each in files.values())


def test_what_nobody_recorded_is_said(small: Path, tmp_path: Path) -> None:
    """Without a record every file is named in which nobody would see a changed byte; a whole record is enough."""
    folder = Path(shutil.copytree(small, tmp_path / "weights"))
    shown, asked = uxo("weights", "check", str(folder)), uxo("weights", "check", str(folder), "--digests", "--json")
    files = json.loads(asked.output)["files"]
    (folder / "SHA256SUMS").write_text("".join(f"{each['sha256']}  {name}\n" for name, each in files.items()))

    recorded = uxo("weights", "check", str(folder))

    assert "SHA256SUMS does not name" in shown.output
    assert json.loads(asked.output)["unrecorded"] == sorted(files)
    assert "SHA256SUMS does not name" not in recorded.output


def test_nothing_wrong_is_recorded(small: Path, tmp_path: Path) -> None:
    """Digests of files that are not what they should be are not written down."""
    folder = Path(shutil.copytree(small, tmp_path / "weights"))

    answer = uxo("weights", "check", str(folder), "--record")

    assert answer.exit_code == 1
    assert not (folder / "SHA256SUMS").exists()


def test_a_changed_byte_is_found(small: Path, tmp_path: Path) -> None:
    """A file that differs from what was recorded is pointed out."""
    folder = Path(shutil.copytree(small, tmp_path / "weights"))
    shown = json.loads(uxo("weights", "check", str(folder), "--digests", "--json").output)["files"]
    (folder / "SHA256SUMS").write_text("".join(f"{each['sha256']}  {name}\n" for name, each in shown.items()))
    content = bytearray((folder / PROJECTOR).read_bytes())
    content[-1] ^= 1
    (folder / PROJECTOR).write_bytes(content)

    answer = uxo("weights", "check", str(folder), "--digests")

    differing = [line.split()[1] for line in answer.output.splitlines() if line.endswith("differs from SHA256SUMS")]
    assert differing == [PROJECTOR]


def test_a_plan_says_what_fits() -> None:
    """A plan names the parts, their bytes, and whether they fit."""
    shown, asked = uxo("weights", "plan", "--gpu", "l40s"), uxo("weights", "plan", "--gpu", "h100", "--json")

    assert "uno and uso: does not fit into 48 GB of l40s" in shown.output
    assert "while loading, all in bf16" in shown.output
    assert "computed from a cost table, not measured" in shown.output
    assert re.search(r"taken by CUDA itself +1\.00.*in all +54\.\d\d", shown.output, re.DOTALL)
    assert json.loads(asked.output)["fits"] is True
    assert json.loads(asked.output)["bytes"]["transformer"] == 23_802_816_640


def test_a_plan_goes_by_the_operators_table_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table fitted to one's own GPU is not scaled, whatever the GPU is called; one that is not there is said."""
    table = json.loads(files("models").joinpath("costs", f"{USUAL_TABLE}.json").read_text())
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({**table, "device": "ours"}))
    monkeypatch.setenv("UXO_COSTS", str(mine))

    slow, fast = (json.loads(uxo("weights", "plan", "--gpu", gpu, "--json").output) for gpu in ("a10g", "h100"))
    shown = uxo("weights", "plan")
    monkeypatch.setenv("UXO_COSTS", "abacus")
    refused = uxo("weights", "plan")

    assert slow["times"] == fast["times"]
    assert "computed from UXO_COSTS, of ours" in shown.output
    assert (refused.exit_code, "UXO_COSTS='abacus' cannot be used" in refused.output) == (1, True)


def test_a_plan_names_the_bound_of_a_request_where_one_is_needed() -> None:
    """Where the weights leave less than the largest request takes, the setting is written out; elsewhere it is not."""
    narrow = uxo("weights", "plan", "--gpu", "l40s", "--model", "uno").output
    wide = uxo("weights", "plan", "--gpu", "h200").output

    assert "UXO_REQUEST_GB=" not in wide
    assert "the largest request takes about" in wide
    assert "set UXO_REQUEST_GB=13: a request may ask for 13.3 GB" in narrow


def test_an_unknown_gpu_is_said() -> None:
    """A GPU that nothing is known of is refused, with those that are known."""
    answer = uxo("weights", "plan", "--gpu", "abacus")

    assert answer.exit_code == 2
    assert "h200" in answer.output
