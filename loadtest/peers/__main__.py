"""``python -m loadtest.peers``: the same fake model behind other model servers and ours, one after another.

    for each server: make its environment ──► start ──► first answer ──► warm-up ──► load after load ──► stop
    then: JSON, and its tables in the page

A server that cannot be installed or does not start is named with the reason, and the others are measured.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from deployments.clock import utc_now
from loadtest.exits import MISSED, STOPPED, UNUSABLE
from loadtest.findings import write_findings
from loadtest.machine import commit, machine
from loadtest.peers.environment import CannotInstall, last_line, pinned
from loadtest.peers.measuring import NoGoodAnswer, Note, Scene, measure
from loadtest.peers.page import with_figures
from loadtest.peers.peer import PEERS, USUAL, OnRay, Peer
from loadtest.peers.starting import ServerEnded, Site

#: Where environments go, and below ``last`` the logs and databases of the last run. Not under /tmp: that may be memory,
#: where a durable commit costs nothing.
FOLDER = Path("var/peers")
#: Seconds within which an answer is in time.
SLO_S = 0.5
#: What may go wrong with one server and is no reason to leave out the others.
FAILURES = (CannotInstall, ServerEnded, NoGoodAnswer, OSError, TimeoutError, psutil.NoSuchProcess)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@app.command()
def peers(
    *,
    output: Annotated[Path, typer.Option(help="Folder of peers.json; the tables of a peers.md there follow.")] = FOLDER,
    only: Annotated[str, typer.Option(help="Servers, with commas between.")] = ",".join(USUAL),
    loads: Annotated[
        str, typer.Option(help="Shares of what the model can do in full groups of one shape, with commas between.")
    ] = "0.15,0.5,0.9",
    seconds: Annotated[float, typer.Option(min=1, help="How long each load lasts.")] = 15.0,
    port: Annotated[int, typer.Option(help="First of the 80 ports that the servers use.")] = 18900,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Measure nothing; write the tables again.")
    ] = False,
) -> None:
    """Compare model servers under one load; exit with 1 when one of them could not be measured."""
    if tables_only:
        _write_tables(output, json.loads((output / "peers.json").read_text(encoding="utf-8")))
        return
    chosen = _chosen(only)
    scene = Scene(loads=_loads(loads), seconds=seconds, warm_up_s=min(seconds, 5.0), slo_s=SLO_S)
    console.print(f"{len(chosen)} servers, {len(scene.loads)} loads of {seconds:g} s each")
    report = _facts(chosen, scene)
    try:
        _measure_all(chosen, scene, report, port=port)
    except KeyboardInterrupt:
        console.print("stopped; what was measured is written")
        report["was_stopped"] = True
    write_findings(output / "peers.json", report)
    _write_tables(output, report)
    console.print(f"written to {output / 'peers.json'}")
    sys.exit(STOPPED if report["was_stopped"] else MISSED if report["not_run"] else 0)


def _chosen(only: str) -> Sequence[Peer]:
    names = [name.strip() for name in only.split(",") if name.strip()] or USUAL
    if unknown := [name for name in names if name not in PEERS]:
        _give_up(f"there is no server {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return [PEERS[name] for name in names]


def _loads(text: str) -> Sequence[float]:
    try:
        loads = sorted(float(each) for each in text.split(","))
    except ValueError:
        loads = []
    if not loads or not all(0 < load <= 10 for load in loads):
        _give_up(f"--loads must be numbers above 0 and up to 10 with commas between, not {text}")
    return loads


def _give_up(why: str) -> None:
    console.print(why, markup=False)
    sys.exit(UNUSABLE)


def _facts(chosen: Sequence[Peer], scene: Scene) -> dict[str, Any]:
    return {
        "benchmark": "peers",
        "measured_at": utc_now().isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", "loadtest.peers", *sys.argv[1:]]),
        "commit": commit(),
        "machine": dict(machine()),
        "seconds": scene.seconds,
        "slo_s": scene.slo_s,
        "seed": scene.seed,
        "versions": {peer.name: _version(peer) for peer in chosen},
        "findings": [],
        "not_run": {},
        "was_stopped": False,
    }


def _version(peer: Peer) -> str:
    if isinstance(peer.start, OnRay):
        return f"Ray {version('ray')}"
    return f"{peer.start.package} {pinned(peer.start.pins, peer.start.package)}"


def _measure_all(chosen: Sequence[Peer], scene: Scene, report: dict[str, Any], *, port: int) -> None:
    """Measure one server after another, and note what came of each in the report."""
    shutil.rmtree(FOLDER / "last", ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="uxo-") as sockets:
        for number, peer in enumerate(chosen):
            site = Site(
                # One of its own for each: the port of one that has just ended may not be free yet.
                port=port + number,
                folder=(FOLDER / "last" / peer.name).resolve(),
                sockets=Path(sockets),
                environments=FOLDER.resolve(),
            )
            try:
                _measure(peer, site, scene, note=lambda each: report["findings"].append(each.to_json()))
            except FAILURES as error:
                report["not_run"][peer.name] = last_line(str(error)) or type(error).__name__
                console.print(f"  {peer.name:14} ended early: {report['not_run'][peer.name]}", markup=False)


def _measure(peer: Peer, site: Site, scene: Scene, *, note: Note) -> None:
    started_s = time.monotonic()

    def tell(news: str) -> None:
        console.print(f"  {peer.name:14} {time.monotonic() - started_s:5.0f} s  {news}", markup=False)

    measure(peer, site, scene, report=tell, note=note)


def _write_tables(output: Path, report: Mapping[str, Any]) -> None:
    page = output / "peers.md"
    if page.exists():
        page.write_text(with_figures(page.read_text(encoding="utf-8"), report), encoding="utf-8")


if __name__ == "__main__":
    app()
