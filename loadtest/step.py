"""How much faster is a step of ours than diffusers'? ``python -m loadtest.step``: both on a CPU, step about step.

The same random weights and the same LoRA in both: diffusers' transformer carries it beside its weights through peft,
as its users load it, ours has it merged, as it is served. One thread and CPU time, since others use the machine; every
round takes a step of each, and the order of the two changes from round to round. Before anything is timed, both
predict the same.
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from peft import LoraConfig
from torch import Tensor

from loadtest.findings import write_findings
from loadtest.flux_pair import Ours, Stock, draw_case, pair
from loadtest.machine import MODEL_PACKAGES, commit, machine
from loadtest.step_page import page as written
from loadtest.step_page import table
from models.flux.fusing import fuse
from models.flux.lora import LoraPair, merge_lora

#: A quarter of FLUX.1's width and a fifth of its blocks.
MIDDLE: Mapping[str, Any] = {
    "num_layers": 4,
    "num_single_layers": 8,
    "attention_head_dim": 128,
    "num_attention_heads": 6,
    "joint_attention_dim": 1024,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
}
#: A sixth of the width, as UNO's 512 of 3072.
RANK = 128
#: Tokens of the prompt, and (rows, columns) of the target and the reference; 640 in all.
TEXT_TOKENS, GRID, REFERENCE = 128, (16, 16), (16, 16)
#: Steps of the schedule that the timed ones belong to.
STEPS = 28
#: Layers that carry a LoRA: every projection of attention, and the last layer of a single block.
TARGETS = (
    r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|single_transformer_blocks\.\d+\.(attn\.to_[qkv]|proj_out)"
)
#: Largest relative difference of the two predictions; both compute in float32, in another order.
PARITY = 1e-5

#: Where the page and its JSON lie.
DOCUMENTS = Path("docs/benchmarks")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def step(
    context: typer.Context,
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/step.json"),
    rounds: Annotated[int, typer.Option(min=1, help="Pairs of steps.")] = 15,
    small: Annotated[bool, typer.Option("--small", help="Tiny weights: whether it runs, not how fast.")] = False,
) -> None:
    """Time both and write what was found."""
    if context.invoked_subcommand:
        return
    command = f"python -m loadtest.step --rounds {rounds} --output {output}" + " --small" * small
    facts = {"benchmark": "step", "commit": commit(), "machine": machine(MODEL_PACKAGES), "command": command}
    config = {**MIDDLE, "num_layers": 1, "num_single_layers": 2, "num_attention_heads": 1} if small else MIDDLE
    torch.set_num_threads(1)
    found = measure(config, rounds=rounds)
    write_findings(output, facts | found)
    sys.stdout.write(table(found) + "\n")


@app.command()
def page(
    *,
    figures: Annotated[Path, typer.Option(help="What the benchmark wrote.")] = DOCUMENTS / "step.json",
    output: Annotated[Path, typer.Option(help="Where the page goes.")] = DOCUMENTS / "step.md",
) -> None:
    """Write the page anew from the JSON file."""
    output.write_text(written(json.loads(figures.read_text(encoding="utf-8"))), encoding="utf-8")


@torch.inference_mode()
def measure(config: Mapping[str, Any], *, rounds: int) -> dict[str, Any]:
    """Return the CPU milliseconds of every step, and what follows from them."""
    stock, ours = pair(config, device="cpu", dtype=torch.float32)
    case = draw_case(ours, GRID, (REFERENCE,), text_tokens=TEXT_TOKENS, steps=STEPS)
    lora = _attach(stock)
    # Both share their weights so far, and merging writes into them.
    ours = copy.deepcopy(ours)
    merge_lora(ours, lora)
    fuse(ours)
    runs: Mapping[str, Stock | Ours] = {"diffusers": Stock(stock, case), "ours": Ours(ours, case)}
    difference = _difference(*(run.velocity(case.target, 0) for run in runs.values()))
    assert difference <= PARITY, f"the two differ by {difference:.2g}"  # noqa: S101 -- else there is nothing to time
    ms = _alternate(runs, case.target, rounds=rounds)
    ratios = [theirs / own for theirs, own in zip(ms["diffusers"], ms["ours"], strict=True)]
    return {
        "tokens": case.tokens,
        "width": config["num_attention_heads"] * config["attention_head_dim"],
        "blocks": [config["num_layers"], config["num_single_layers"]],
        "rank": RANK,
        "relative_difference": difference,
        "cpu_ms": ms,
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
    }


def _attach(stock: FluxTransformer2DModel) -> dict[str, LoraPair]:
    """Give diffusers' transformer a random LoRA through peft, and return it."""
    # Strength 1, as the released files have it.
    stock.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS, init_lora_weights=False))
    stock.eval().requires_grad_(requires_grad=False)
    lora: dict[str, LoraPair] = {}
    for name, layer in stock.named_modules():
        if hasattr(layer, "lora_A"):
            down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            generator = torch.Generator().manual_seed(len(lora))
            for factor in (down, up):
                factor.data.normal_(std=0.5 * factor.shape[1] ** -0.5, generator=generator)
            # Beside weights drawn from the same spread, a half of it is a strong LoRA.
            lora[name] = LoraPair(down=down, up=up)
    return lora


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm())


def _alternate(runs: Mapping[str, Stock | Ours], target: Tensor, *, rounds: int) -> dict[str, list[float]]:
    ms: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in sorted(runs, reverse=number % 2 == 1):
            started = time.process_time()
            runs[name].velocity(target, 1 + number % (STEPS - 1))
            ms[name].append((time.process_time() - started) * 1000)
    return ms


if __name__ == "__main__":
    app()
