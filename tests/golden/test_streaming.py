"""Loading reads each byte once and keeps little more than what it loads, however large a file is."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from weights_folder import BFL, SMALL, save

from models.flux.weights.layouts import Layouts
from models.flux.weights.networks import Sizes

#: A transformer of some 200 MB in bfloat16, its largest tensor of 11 MB; released ones have 23.8 GB and 132 MB.
WIDE: Sizes = replace(
    SMALL,
    transformer={
        "guidance_embeds": True,
        "num_layers": 2,
        "num_single_layers": 2,
        "attention_head_dim": 128,
        "num_attention_heads": 7,
        "joint_attention_dim": 256,
        "pooled_projection_dim": 128,
    },
)
#: Loads one part in a process of its own: bytes read, and memory beyond what was there before and what was loaded.
MEASURE = """
import json, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
import psutil, torch
from golden.test_streaming import WIDE
from models.flux.weights.layouts import Layouts
from models.flux.weights.released import Released

def read_bytes():
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

folder = Released(Path(sys.argv[1]), device="cpu", layouts=Layouts(WIDE))
folder._layouts.of("transformer", "bfl")
Path("/proc/self/clear_refs").write_text("5")
read, before = read_bytes(), psutil.Process().memory_info().rss
network = folder._network("transformer", torch.bfloat16)
held = sum(each.numel() * each.element_size() for each in network.parameters())
print(json.dumps({"read": read_bytes() - read, "beyond": peak() - before - held, "held": held}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells a process's peak memory")
def test_one_tensor_in_memory_at_a_time(tmp_path: Path) -> None:
    """Of a file no byte is read twice but its header, and no more than a few tensors are held besides the network."""
    path = tmp_path / BFL["transformer"][0]
    shapes = Layouts(WIDE).of("transformer", "bfl").shapes
    tensors = {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in shapes.items()}
    save(tensors, path)
    largest = max(tensor.nbytes for tensor in tensors.values())

    found = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), *sys.path], capture_output=True, text=True, check=True
    ).stdout

    measured = json.loads(found)
    header = path.stat().st_size - sum(tensor.nbytes for tensor in tensors.values())
    assert measured["held"] > 150_000_000
    assert measured["read"] <= path.stat().st_size + 2 * header + 100_000
    assert measured["beyond"] <= 3 * largest
