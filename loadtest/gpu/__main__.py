"""``python -m loadtest.gpu``: measure, and write what was found and the rows that ``loadtest.fit_costs`` reads."""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from loadtest.findings import write_findings
from loadtest.flux_pair import Ours, Stock, again, draw_case, pair
from loadtest.gpu.aims import aims_of
from loadtest.gpu.aims import told as of_aims
from loadtest.gpu.ceiling import best_tflops, ceilings
from loadtest.gpu.deadline import Deadline
from loadtest.gpu.device import facts
from loadtest.gpu.encoders import decodes, random_autoencoder, references, styles, texts
from loadtest.gpu.expectation import plan
from loadtest.gpu.geometry import FULL, GROUPS, SHAPES, SMALL, SMALL_GROUPS, SMALL_SHAPES, Shape, flops
from loadtest.gpu.groups import ROUNDS, group_step
from loadtest.gpu.pictures import WARM_UP, draw
from models.flux.fusing import fuse
from models.flux.quantising import quantise_blocks
from models.flux.speed import compile_blocks

#: Steps of a picture, as performance is usually told of FLUX.1-dev.
STEPS, SMALL_STEPS = 28, 2
#: Seconds that a part may need, generously: a picture, the first of a system with its compilation, all else, ceilings.
PICTURE_S, COMPILING_S, OTHER_S, CEILINGS_S = 20.0, 120.0, 15.0, 30.0


@dataclass(slots=True, kw_only=True)
class Bench:
    """What one run of the command works with, and what it finds."""

    #: Whether everything is tiny, to see that it runs.
    is_small: bool
    #: A torch device name.
    device: str
    #: Until when.
    deadline: Deadline
    #: What the device does at most; empty where that could not be measured.
    limits: dict[str, float] = field(default_factory=dict)
    #: Pictures by system and shape.
    pictures: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Steps of pictures that share a call.
    groups: list[dict[str, Any]] = field(default_factory=list)
    #: Encoding and decoding, by part.
    encoders: dict[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """What the transformers compute in."""
        return torch.float32 if self.is_small else torch.bfloat16


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.gpu", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("var/bench/gpu.json"), help="where the figures go")
    parser.add_argument("--rows", type=Path, default=Path("var/bench/gpu_rows.json"), help="where the cost rows go")
    parser.add_argument("--seconds", type=float, default=540, help="after which no new part begins")
    parser.add_argument("--small", action="store_true", help="tiny weights on the CPU: whether it runs, not how fast")
    told = parser.parse_args(arguments)
    if not told.small and not torch.cuda.is_available():
        parser.error("no GPU is there; --small runs everything with tiny weights on the CPU")
    bench = Bench(is_small=told.small, device="cpu" if told.small else "cuda", deadline=Deadline(told.seconds))
    if not told.small:
        sys.stderr.write(_planned() + "\n")
    keep = keeping(
        bench, output=told.output, rows=told.rows, told=" ".join(sys.argv[1:] if arguments is None else arguments)
    )
    bench.deadline.after = keep
    measure(bench)
    sys.stdout.write(table(keep()) + "\n")


def keeping(bench: Bench, *, output: Path, rows: Path, told: str) -> Callable[[], dict[str, Any]]:
    """Return what writes both files as far as things are: called after every part, so that no end loses what was found.

    Args:
        bench: what grows.
        output: where the figures go.
        rows: where the rows go that ``loadtest.fit_costs`` reads.
        told: the command line.
    """
    known = {"benchmark": "gpu", "commit": _commit(), "command": f"python -m loadtest.gpu {told}".strip()}
    found = {**known, **_findings(bench)}

    def keep() -> dict[str, Any]:
        found["aims"] = aims_of(found)
        write_findings(output, found)
        write_findings(rows, cost_rows(found))
        return found

    return keep


def _planned() -> str:
    parts = list(plan(steps=STEPS + WARM_UP, rounds=ROUNDS + 1))
    lines = [f"{seconds:6.1f} s  {name}" for name, seconds in parts]
    return "\n".join([*lines, f"{sum(seconds for _, seconds in parts):6.1f} s  in all, as expected of an H100"])


def _findings(bench: Bench) -> dict[str, Any]:
    """Return what is written: it grows while there is measured."""
    return {
        "machine": facts(bench.device),
        "small": bench.is_small,
        "ceilings": bench.limits,
        "pictures": bench.pictures,
        "groups": bench.groups,
        "encoders": bench.encoders,
        "dropped": bench.deadline.dropped,
    }


def measure(bench: Bench) -> None:
    """Measure everything that there is time for."""
    bench.deadline.attempt("ceilings", partial(_measure_ceilings, bench), needs_s=CEILINGS_S)
    autoencoder = bench.deadline.attempt(
        "autoencoder", partial(random_autoencoder, device=bench.device, is_small=bench.is_small)
    )
    bench.deadline.attempt("transformers", partial(_measure_transformers, bench, autoencoder))
    _let_go()
    _measure_encoders(bench, autoencoder)


def _measure_ceilings(bench: Bench) -> None:
    bench.limits |= ceilings(device=bench.device, is_small=bench.is_small)


def _measure_transformers(bench: Bench, autoencoder: Any) -> None:
    stock, ours = pair(SMALL if bench.is_small else FULL, device=bench.device, dtype=bench.dtype)
    _measure_systems(bench, stock, ours, autoencoder)


def _measure_systems(bench: Bench, stock: Any, ours: Any, autoencoder: Any) -> None:
    """Measure one system after the other; what only one of them needs is gone before the next."""
    _measure(bench, "diffusers, eager", partial(Stock, stock), ours, autoencoder)
    for name, prepare in (("ours, exact", fuse), ("ours, compiled", _compile), ("ours, compiled, FP8", _narrow)):
        network = bench.deadline.attempt(f"making {name}", partial(_made, ours, prepare), needs_s=OTHER_S)
        if network is not None:
            _measure(bench, name, partial(Ours, network), ours, autoencoder)
        if network is not None and name == "ours, exact":
            _measure_groups(bench, network)
        del network
        _let_go()


def _made(ours: Any, prepare: Callable[[Any], None]) -> Any:
    network = again(ours)
    prepare(network)
    return network


def _compile(network: Any) -> None:
    fuse(network)
    # On a CPU the graphs are made and run as they are: code for them would take minutes.
    compile_blocks(network, backend="inductor" if torch.cuda.is_available() else "eager")


def _narrow(network: Any) -> None:
    fuse(network)
    quantise_blocks(network)
    compile_blocks(network, backend="inductor" if torch.cuda.is_available() else "eager")


def _measure_groups(bench: Bench, network: Any) -> None:
    for shape, count in SMALL_GROUPS if bench.is_small else GROUPS:
        bench.deadline.attempt(
            f"groups, {count} of {shape.name}",
            partial(_group, bench, network, shape, count),
            needs_s=0 if bench.is_small else OTHER_S,
        )


def _group(bench: Bench, network: Any, shape: Shape, count: int) -> None:
    text_tokens = 8 if bench.is_small else 512
    bench.groups.append(group_step(network, shape, count, device=bench.device, text_tokens=text_tokens))


def _measure(bench: Bench, system: str, run: Callable[[Any], Any], ours: Any, autoencoder: Any) -> None:
    bench.pictures[system] = {}
    for shape in SMALL_SHAPES if bench.is_small else SHAPES:
        is_first = "compiled" in system and not bench.pictures[system]
        part = partial(_picture, bench, system, run, ours, autoencoder, shape)
        needs_s = COMPILING_S if is_first else PICTURE_S
        bench.deadline.attempt(f"{system}, {shape.name}", part, needs_s=0 if bench.is_small else needs_s)


@torch.inference_mode()
def _picture(bench: Bench, system: str, run: Callable[[Any], Any], ours: Any, autoencoder: Any, shape: Shape) -> None:
    text_tokens, steps = (8, SMALL_STEPS) if bench.is_small else (512, STEPS)
    case = draw_case(ours, shape.grid, shape.reference_grids, text_tokens=text_tokens, steps=steps)
    picture = draw(run(case), case, autoencoder, device=bench.device)
    tflops = flops(ours.config, case.tokens) / picture["step_ms"] / 1e9
    shares = {"tflops": tflops, "share": tflops / best_tflops(bench.limits) if bench.limits else None}
    bench.pictures[system][shape.name] = {**picture, **shares, "side": shape.side, "references": shape.references}


def _measure_encoders(bench: Bench, autoencoder: Any) -> None:
    told: dict[str, Any] = {"device": bench.device, "is_small": bench.is_small}
    sides, of_references = ((64,), (32,)) if bench.is_small else ((512, 1024), (320, 512))
    parts: dict[str, Callable[[], Any]] = {
        "decodes": partial(decodes, autoencoder, sides, device=bench.device),
        "references": partial(references, autoencoder, of_references, device=bench.device),
        "texts": partial(texts, dtype=bench.dtype, **told),
        "styles": partial(styles, **told),
    }
    needs_s = 0 if bench.is_small else OTHER_S
    for name, part in parts.items():
        bench.encoders[name] = bench.deadline.attempt(name, part, needs_s=needs_s) or []


def cost_rows(found: dict[str, Any]) -> dict[str, Any]:
    """Return what ``loadtest.fit_costs`` fits a table to: the steps of ours, exact, and of encoding and decoding."""
    exact = found["pictures"].get("ours, exact", {})
    alone = [{"tokens": each["tokens"], "samples": 1, "ms": each["step_ms"]} for each in exact.values()]
    together = [{name: each[name] for name in ("tokens", "samples", "ms")} for each in found["groups"]]
    source = f"Measured by {found['command']} at {found['commit']}: random weights, ours, exact."
    encoders = {name: found["encoders"].get(name, []) for name in ("decodes", "references", "texts", "styles")}
    return {"device": found["machine"]["device"], "source": source, "steps": [*alone, *together], **encoders}


def table(found: dict[str, Any]) -> str:
    """Write the pictures as a table, what came of the aims, and what is missing."""
    lines = ["| system | picture | ms a step | share | longest gap, ms | s a picture | peak GB |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for system, shapes in found["pictures"].items():
        lines += [_row(system, name, picture) for name, picture in shapes.items()]
    lines += [
        f"{each['samples']} of {each['tokens']} tokens together: {each['ms']:.1f} ms a step" for each in found["groups"]
    ]
    lines += of_aims(found)
    return "\n".join([*lines, *(f"left out: {name} ({reason})" for name, reason in found["dropped"].items())])


def _row(system: str, name: str, picture: dict[str, Any]) -> str:
    share = "" if picture["share"] is None else f"{picture['share']:.2f}"
    peak = "" if picture["peak_bytes"] is None else f"{picture['peak_bytes'] / 1e9:.1f}"
    figures = f"{picture['step_ms']:.1f} | {share} | {picture['gap_ms']:.2f} | {picture['picture_s']:.2f} | {peak}"
    return f"| {system} | {name} | {figures} |"


def _let_go() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _commit() -> str:
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=False)  # noqa: S603 -- no input of others
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
