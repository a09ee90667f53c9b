"""Run groups with a bad member in every way of sharing calls, then many requests; write JSON, and the page from it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import track

from loadtest.findings import write_findings
from loadtest.isolation.groups import MEMBERS, Way, made_alone, run_groups
from loadtest.isolation.memory import FLAT_BYTES, LOOKS, grown_bytes, run_requests
from loadtest.isolation.memory import SIDE as SMALL_SIDE
from loadtest.isolation.page import groups_table, is_kept, memory_table, verdict
from loadtest.isolation.page import page as written
from loadtest.isolation.spoiled import SIDE, Spoiled
from loadtest.machine import MODEL_PACKAGES, commit, machine
from models.rehearsal import rehearse
from models.sample import ShapeKey
from models.tiny import components

#: Where the page and its JSON lie.
DOCUMENTS = Path("docs/benchmarks")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def isolate(
    context: typer.Context,
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/isolation.json"),
    groups: Annotated[int, typer.Option(min=1, help="Groups of each way of sharing calls.")] = 500,
    requests: Annotated[int, typer.Option(min=4, help="Requests of the run that memory is watched in.")] = 2000,
) -> None:
    """Run all of it; exit with 1 when a good member was harmed or memory grew."""
    if context.invoked_subcommand:
        return
    facts = {
        "benchmark": "isolation",
        "command": f"python -m loadtest.isolation --groups {groups} --requests {requests} --output {output}",
        "commit": commit(),
        "machine": machine(MODEL_PACKAGES),
    }
    torch.set_num_threads(1)
    found = facts | measure(Spoiled(components("uno")), groups=groups, requests=requests)
    write_findings(output, found)
    sys.stdout.write(f"{groups_table(found['ways'])}\n\n{memory_table(found['looks'])}\n\n{verdict(found)}\n")
    sys.exit(not (found["is_flat"] and all(map(is_kept, found["ways"]))))


@app.command()
def page(
    *,
    figures: Annotated[Path, typer.Option(help="What the benchmark wrote.")] = DOCUMENTS / "isolation.json",
    output: Annotated[Path, typer.Option(help="Where the page goes.")] = DOCUMENTS / "isolation.md",
) -> None:
    """Write the page anew from the JSON file."""
    output.write_text(written(json.loads(figures.read_text(encoding="utf-8"))), encoding="utf-8")


def measure(pipeline: Spoiled, *, groups: int, requests: int) -> dict[str, Any]:
    """Return what came of every way of sharing calls, and every look at the memory."""
    proven = rehearse({"uno": pipeline}, max_group=MEMBERS, sizes=((SIDE, SIDE),)).proven
    alone = made_alone(pipeline)
    ways = [
        _last(_shown(run_groups(pipeline, way, alone=alone, groups=groups), groups, way.name)) for way in _ways(proven)
    ]
    looks = list(_shown(run_requests(pipeline, requests=requests), min(LOOKS, requests), "memory"))
    grown = grown_bytes(looks)
    return {
        "side": SIDE,
        "small_side": SMALL_SIDE,
        "equal_together": max(count for shape, count in proven.items() if not shape.reference_tokens),
        "ways": ways,
        "requests": requests,
        "looks": looks,
        "grown_bytes": grown,
        "flat_bytes": FLAT_BYTES,
        "is_flat": grown <= FLAT_BYTES,
    }


def _ways(proven: Mapping[ShapeKey, int]) -> Sequence[Way]:
    return [
        Way(name="exact, each alone", max_group=MEMBERS, proven={}, is_exact=True),
        Way(name="exact, as many as were rehearsed", max_group=MEMBERS, proven=proven, is_exact=True),
        Way(name="throughput", max_group=MEMBERS, proven=None, is_exact=False),
    ]


def _shown(found: Iterator[Mapping[str, Any]], total: int, title: str) -> Iterable[Mapping[str, Any]]:
    return track(found, total=total, description=title, console=Console(stderr=True))


def _last(found: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    *_, last = found
    return last


if __name__ == "__main__":
    app()
