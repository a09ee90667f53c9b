"""What ``loadtest.step`` found, as a table and as the page that docs/ shows. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from loadtest.figures import markdown
from loadtest.machine import MODEL_PACKAGES

#: How many times as fast as diffusers' a step of ours is to be.
AIM = 1.3
#: Load average before a run up to which a machine counts as quiet: less than half a core.
QUIET = 0.5

PAGE = """# A step beside diffusers' own

**What.** One denoising step on a CPU by diffusers' `FluxTransformer2DModel` and by ours, over the same random weights:
width {width}, {double} double and {single} single blocks, {tokens} tokens of the prompt, the picture and a reference,
float32. Both have the same LoRA of rank {rank}, a sixth of the width as UNO's: theirs beside the weights through peft,
as its users load it, ours merged, as it is served. Before anything is timed, both predict the same; here they differ by
{difference:.0e} of the prediction. Every round takes a step of each, the order changing from round to round; the ratio
is told pair by pair.

**Command.** `{command}`; [step.json](step.json) is beside this page,
which `python -m loadtest.step page` made from it.

**Machine.** {cores} cores of {cpu}, {memory_gib} GiB, Python {python}, {versions}one thread; commit `{commit}`;
{load}.
CPU time, not wall time.

{table}

{verdict} Most of the gain is the LoRA, an eighth of the products; the rest is rows that the last block does not make,
modulations and references embedded once, layers fused, and fewer passes over the tokens.
"""


def page(facts: Mapping[str, Any]) -> str:
    """Write the whole page."""
    machine = facts["machine"]
    known = [f"{name} {machine[name]}" for name in MODEL_PACKAGES if name in machine]
    double, single = facts["blocks"]
    return PAGE.format(
        **{
            **machine,
            **facts,
            "double": double,
            "single": single,
            "difference": facts["relative_difference"],
            "versions": "".join(f"{each}, " for each in known),
            "load": _load(machine["load_average_at_start"]),
            "table": table(facts),
            "verdict": _verdict(facts["ratio"]),
        }
    )


def table(found: Mapping[str, Any]) -> str:
    """Write what was found as a table."""
    rows = [["a step of", "CPU ms, median", "lowest", "highest"]]
    for name, ms in found["cpu_ms"].items():
        rows.append([name, *(f"{value:.0f}" for value in (statistics.median(ms), min(ms), max(ms)))])
    ratio = found["ratio"]
    rows.append(["diffusers / ours, pair by pair", *(f"{ratio[name]:.2f}" for name in ("median", "low", "high"))])
    return markdown(rows)


def _load(average: float) -> str:
    if average <= QUIET:
        return f"nothing else was running on it (load average {average:g} before it began)"
    return f"the load average was {average:g} before it began: something else ran on it then, and may have gone on"


def _verdict(ratio: Mapping[str, float]) -> str:
    came = "reached" if ratio["median"] >= AIM else "**missed**"
    return f"The median pair is {ratio['median']:.2f}: the goal, {AIM:g}, is {came}."
