"""A mid-size checkpoint in both released layouts: read once, with little more in memory than what it becomes."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from weights_folder import BFL, DIFFUSERS, OTHERS, SMALL, cut, save, write_folder

from models.flux.bfl import load_bfl
from models.flux.components import FluxComponents
from models.flux.group import FluxSample
from models.flux.lora import merge_lora, read_lora
from models.flux.text import TextEncoder
from models.flux.transformer import UxoTransformer
from models.flux.weights.layouts import Layouts
from models.flux.weights.networks import Sizes
from models.flux.weights.released import Released
from models.request import GenerationRequest
from models.uno import UnoPipeline

#: A transformer of some 450 MB in bfloat16, its largest tensor of 33 MB; released ones have 23.8 GB and 132 MB.
MIDDLE: Sizes = replace(
    SMALL,
    transformer=MappingProxyType(
        {
            "guidance_embeds": True,
            "num_layers": 2,
            "num_single_layers": 2,
            "attention_head_dim": 128,
            "num_attention_heads": 12,
            "joint_attention_dim": 24,
            "pooled_projection_dim": 20,
        }
    ),
    ranks=MappingProxyType({"uno": 64, "uso": 16}),
)
#: Files of the transformer in diffusers' layout, as many as FLUX.1-dev has.
SHARDS = 3
#: Loads one part in a process of its own: bytes read, and memory beyond what was there before and what was loaded.
#: VmHWM counts every page that is resident, also of mapped files; what the kernel keeps of files that were read, not.
MEASURE = """
import json, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
import psutil, torch
from golden.test_streaming import MIDDLE
from models.flux.weights.layouts import Layouts
from models.flux.weights.released import Released

def read_bytes():
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

folder = Released(Path(sys.argv[1]), device="cpu", layouts=Layouts(MIDDLE))
for layout in ("bfl", "diffusers"):
    folder._layouts.of("transformer", layout)
Path("/proc/self/clear_refs").write_text("5")
read, before = read_bytes(), psutil.Process().memory_info().rss
network = folder._network("transformer", torch.bfloat16)
held = sum(each.numel() * each.element_size() for each in network.parameters())
print(json.dumps({"read": read_bytes() - read, "beyond": peak() - before - held, "held": held}))
"""


@pytest.fixture(scope="module")
def bfl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the checkpoint as Black Forest Labs publish it; nobody changes it."""
    return write_folder(tmp_path_factory.mktemp("bfl"), sizes=MIDDLE)


@pytest.fixture(scope="module")
def diffusers(bfl: Path, converted: UxoTransformer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the same values as diffusers publishes them, in shards with an index; nobody changes it."""
    folder = tmp_path_factory.mktemp("diffusers")
    for path in bfl.iterdir():
        if path.name != BFL["transformer"][0]:
            (folder / path.name).symlink_to(path)
    place = folder / DIFFUSERS["transformer"][0]
    save({name: tensor.contiguous() for name, tensor in converted.state_dict().items()}, place)
    cut(place, shards=SHARDS)
    return folder


@pytest.fixture(scope="module")
def converted(bfl: Path) -> UxoTransformer:
    """Convert the one file by the path that the recorded numbers check."""
    transformer: UxoTransformer = UxoTransformer(**MIDDLE.transformer).to(torch.bfloat16)
    load_bfl(transformer, load_file(bfl / BFL["transformer"][0]))
    return transformer


@pytest.fixture(scope="module", params=["bfl", "diffusers"])
def loaded(request: pytest.FixtureRequest) -> FluxComponents:
    """Load each of the two folders for UNO."""
    folder = Released(request.getfixturevalue(request.param), device="cpu", layouts=Layouts(MIDDLE))
    return folder.components(["uno"])["uno"]


def _step(parts: FluxComponents) -> Tensor:
    """Take one step with a prompt of few tokens, which is enough to touch every weight."""
    wish = GenerationRequest(
        model="uno", prompt="a b", references=(), width=32, height=32, num_inference_steps=2, guidance_scale=4.0, seed=7
    )
    text = TextEncoder(t5=replace(parts.text._t5, tokens=8), clip=parts.text._clip)
    pipeline = UnoPipeline(replace(parts, text=text))
    [stepped] = pipeline.step(pipeline.prepare("one", wish, []))
    assert isinstance(stepped, FluxSample)
    return stepped.tokens


def test_both_layouts_are_the_checked_conversion(loaded: FluxComponents, converted: UxoTransformer, bfl: Path) -> None:
    """Streamed from one file or from shards, every tensor has the bits of the conversion, and so has a step."""
    merged = deepcopy(converted).requires_grad_(requires_grad=False)
    merge_lora(merged, read_lora(merged, load_file(bfl / OTHERS["uno"][0])))

    state, wanted = loaded.transformer.state_dict(), merged.state_dict()

    assert state.keys() == wanted.keys()
    assert [name for name, tensor in wanted.items() if not state[name].equal(tensor)] == []
    assert _step(loaded).equal(_step(replace(loaded, transformer=merged.eval())))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells a process's peak memory")
@pytest.mark.parametrize("layout", ["bfl", "diffusers"])
def test_one_tensor_in_memory_at_a_time(request: pytest.FixtureRequest, layout: str) -> None:
    """Of a file no byte is read twice but its header, and no more than a few tensors are held besides the network.

    So what it takes beyond the network is far below 1.2 times its largest shard.
    """
    folder: Path = request.getfixturevalue(layout)
    place = folder / (BFL if layout == "bfl" else DIFFUSERS)["transformer"][0]
    files = [place] if layout == "bfl" else sorted(place.parent.glob("*.safetensors"))

    found = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), *sys.path], capture_output=True, text=True, check=True
    ).stdout

    measured = json.loads(found)
    sizes = [path.stat().st_size for path in files]
    largest = max(tensor.nbytes for path in files for tensor in load_file(path).values())
    # Headers are read twice more, for the accounts; of a folder in shards the index too.
    beside = 2 * (sum(sizes) - measured["held"]) + 200_000
    assert measured["held"] > 450_000_000
    assert sum(sizes) <= measured["read"] <= sum(sizes) + beside
    assert measured["beyond"] <= min(3 * largest, 1.2 * max(sizes))
