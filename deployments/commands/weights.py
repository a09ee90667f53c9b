"""``uxo weights``: whether a folder of released weights is what it should be, and what it asks of a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from deployments.commands.fetch_all import fetch_all
from deployments.commands.words import AsJson, output, print_json, print_table, remarks
from deployments.commands.work import one_line
from deployments.settings import read_settings
from models.catalog import CATALOG
from models.loading import TINY, UnusableWeights, account_for, find_weights, hash_file, record, recorded, unrecorded
from models.options import Precision, SpeedOptions, TextDevice
from models.plan import (
    CONTEXT_BYTES,
    GPUS,
    TABLES_GPU,
    WORKING_BYTES,
    Gpu,
    Timing,
    fits,
    largest_bytes,
    loading_bytes,
    memory,
    request_room,
    timings,
    whole_gb,
    working_bytes,
)

if TYPE_CHECKING:
    from models.flux.weights.accounts import PartReport

app = typer.Typer(no_args_is_help=True, help="Released weights: whether a folder holds them, what they ask of a GPU.")

#: Files that are named where many have the same wrong with them.
SHOWN = 3
#: File by file: its digest, and whether it is the recorded one.
Digests = Mapping[Path, str]


@app.callback()
def weights() -> None:
    """Look at released weights."""


@app.command()
def check(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder, laid out as docs/weights.md says.")],
    *,
    model: Annotated[list[str] | None, typer.Option(help="Only what this model needs; repeat for more.")] = None,
    digests: Annotated[bool, typer.Option("--digests", help="Read every file and show its SHA-256.")] = False,
    write: Annotated[bool, typer.Option("--record", help="Add the digests to SHA256SUMS in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Account for every tensor that the models need, by the files' headers; exit with 1 when something is wrong."""
    place = _found(folder)
    reports = account_for(place, _models(model))
    sums = _hash(reports, quiet=as_json) if digests or write else {}
    differing = _differing(place, sums)
    if write and not differing and not any(report.problems for report in reports):
        _record(place, sums)
    if as_json:
        print_json(_for_scripts(place, reports, sums, differing))
    else:
        _print(place, reports, sums, differing)
        _remark_unrecorded(_unrecorded(place, reports))
    if differing or any(report.problems for report in reports):
        raise typer.Exit(1)


@app.command()
def fetch(
    weights: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR|HUB_ID", help="As UXO_WEIGHTS, which else counts; for a folder write ./weights/flux."
        ),
    ] = None,
    *,
    model: Annotated[list[str] | None, typer.Option(help="Only what this model needs; repeat for more.")] = None,
    pin: Annotated[list[str] | None, typer.Option(help="owner/name@revision of a published repository.")] = None,
) -> None:
    """Bring weights to this machine, each file held against the hub's digest, then check them.

    A folder is filled from where the parts are published; a hub id goes into the cache, and without an argument what
    UXO_SAFETY_MODEL names does too. Accept the terms of each repository on its page first, and put your token into
    HF_TOKEN. What is whole is not brought again.
    """
    models = _models(model)
    place = fetch_all(weights, models, pins=pin or ())
    check(str(place), model=list(models))


@app.command()
def plan(
    *,
    gpu: Annotated[str, typer.Option(help=f"One of {', '.join(GPUS)}.")] = TABLES_GPU,
    model: Annotated[list[str] | None, typer.Option(help="Only this model; repeat for more.")] = None,
    precision: Annotated[Precision, typer.Option(help="As UXO_PRECISION; times are told of bf16.")] = "bf16",
    text_device: Annotated[TextDevice, typer.Option(help="As UXO_TEXT_DEVICE.")] = "same",
    as_json: AsJson = False,
) -> None:
    """Say what released weights take of a GPU and how long pictures take on it; computed, not measured.

    Times come from UXO_COSTS as they are where it is set, and else from the usual cost table, scaled to the GPU.
    """
    if gpu not in GPUS:
        raise typer.BadParameter(f"there is no GPU {gpu!r} here; there are: {', '.join(GPUS)}")
    with one_line():
        own = read_settings().own_costs
    models, device = frozenset(_models(model)), GPUS[gpu]
    options = SpeedOptions(precision=precision, text=text_device)
    parts, times, is_room = memory(models, options), timings(device, own), fits(models, device, options)
    if as_json:
        sizes = {
            "bytes": parts,
            "loading_bytes": loading_bytes(models),
            "request_gb": _request_gb(models, device, options),
        }
        print_json({"gpu": gpu, "fits": is_room, **sizes, "times": [asdict(each) for each in times]})
        return
    rows = [*parts.items(), ("kept free to work", WORKING_BYTES), ("taken by CUDA itself", CONTEXT_BYTES)]
    rows.append(("in all", working_bytes(models, options)))
    rows.append(("while loading, all in bf16", loading_bytes(models)))
    print_table(("part", "GB"), [(name, f"{size / 1e9:.2f}") for name, size in rows], empty="nothing")
    verdict = "fits" if is_room else "does not fit"
    output.print(f"\n{' and '.join(sorted(models))}: {verdict} into {device.memory_bytes / 1e9:.0f} GB of {gpu}\n")
    if is_room:
        output.print(_of_requests(models, _request_gb(models, device, options)) + "\n", soft_wrap=True)
    columns = ("size", "references", "a step, ms", "28 steps, s")
    print_table(columns, [_times(each) for each in times], empty="nothing")
    table = f"UXO_COSTS, of {own.device}" if own else "a cost table, not measured"
    output.print(f"\ncomputed from {table}", soft_wrap=True)


def _request_gb(models: frozenset[str], gpu: Gpu, options: SpeedOptions) -> float:
    return whole_gb(request_room(models, gpu, options))


def _of_requests(models: frozenset[str], room_gb: float) -> str:
    most_gb = largest_bytes(models) / 1e9
    if most_gb <= room_gb:
        return f"the largest request takes about {most_gb:.1f} GB of the {room_gb:g} GB beside the weights"
    return f"set UXO_REQUEST_GB={room_gb:g}: a request may ask for {most_gb:.1f} GB, and would fail when it is drawn"


def _times(timing: Timing) -> tuple[object, ...]:
    side = f"{timing.side}x{timing.side}"
    return (side, timing.references, f"{timing.step_ms:.0f}", f"{timing.picture_s:.1f}")


def _found(folder: str) -> Path:
    if folder == TINY:
        raise typer.BadParameter(f"{TINY} weights are made up when they are loaded; there is nothing to check")
    try:
        return find_weights(folder)
    except UnusableWeights as error:
        said = str(error).replace("UXO_WEIGHTS=", "", 1).replace(f"write {TINY}, ", "write ", 1)
        raise typer.BadParameter(said) from error


def _models(names: list[str] | None) -> tuple[str, ...]:
    unknown = sorted(set(names or ()) - set(CATALOG))
    if unknown:
        raise typer.BadParameter(f"there is no model {unknown[0]!r}; there are: {', '.join(sorted(CATALOG))}")
    return tuple(names or CATALOG)


def _hash(reports: Sequence[PartReport], *, quiet: bool) -> dict[Path, str]:
    paths = [path for report in reports for path in report.paths]
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=remarks, transient=True, disable=quiet) as progress:
        bar = progress.add_task("SHA-256", total=sum(path.stat().st_size for path in paths))
        return {path: hash_file(path, progress=lambda size: progress.advance(bar, size)) for path in paths}


def _differing(folder: Path, sums: Digests) -> frozenset[Path]:
    with _shown():
        known = recorded(folder) if sums else {}
    names = {path: path.relative_to(folder).as_posix() for path in sums}
    return frozenset(path for path, digest in sums.items() if known.get(names[path], digest) != digest)


def _record(folder: Path, sums: Digests) -> None:
    try:
        record(folder, sums)  # beside what other models' files were recorded as
    except OSError as error:
        remarks.print(f"SHA256SUMS cannot be written: {error}", style="red")
        raise typer.Exit(1) from error


def _unrecorded(folder: Path, reports: Sequence[PartReport]) -> list[str]:
    files = [path.relative_to(folder).as_posix() for report in reports for path in report.paths]
    with _shown():
        return unrecorded(str(folder), files)


def _remark_unrecorded(files: Sequence[str]) -> None:
    if files:
        more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        sentence = f"SHA256SUMS does not name {', '.join(files[:SHOWN])}{more}: a changed byte in them goes unnoticed"
        remarks.print(f"{sentence}; --record writes their digests down", style="yellow", soft_wrap=True)


@contextmanager
def _shown() -> Iterator[None]:
    """Say what is wrong with ``SHA256SUMS``, and exit with 1."""
    try:
        yield
    except UnusableWeights as error:
        remarks.print(str(error), style="red")
        raise typer.Exit(1) from error


def _print(folder: Path, reports: Sequence[PartReport], sums: Digests, differing: frozenset[Path]) -> None:
    columns = ("part", "layout", "files", "tensors", "not needed", "size", "numbers", "verdict")
    print_table(columns, [_row(folder, report) for report in reports], empty="nothing")
    for path, digest in sums.items():
        verdict = "  differs from SHA256SUMS" if path in differing else ""
        output.print(f"{digest}  {path.relative_to(folder)}{verdict}", soft_wrap=True)


def _row(folder: Path, report: PartReport) -> tuple[object, ...]:
    verdict = "; ".join(report.problems) or "ok"
    found = report.found
    if found is None:
        return (report.part, None, None, None, None, None, None, verdict)
    files = str(found.paths[0].relative_to(folder)) + (f" +{len(found.paths) - 1}" if len(found.paths) > 1 else "")
    size = f"{sum(entry.size_bytes for entry in found.entries) / 1e9:.2f} GB"
    return (report.part, found.layout, files, len(found.entries), report.spare, size, _formats(report), verdict)


def _formats(report: PartReport) -> str:
    entries = report.found.entries if report.found else ()
    return ", ".join(sorted({entry.dtype for entry in entries}))


def _for_scripts(
    folder: Path, reports: Sequence[PartReport], sums: Digests, differing: frozenset[Path]
) -> dict[str, Any]:
    is_ok = not differing and not any(report.problems for report in reports)
    files = {
        path.relative_to(folder).as_posix(): {"sha256": digest, "differs": path in differing}
        for path, digest in sums.items()
    }
    return {
        "folder": str(folder),
        "ok": is_ok,
        "parts": [_part(folder, each) for each in reports],
        "files": files,
        "unrecorded": _unrecorded(folder, reports),
    }


def _part(folder: Path, report: PartReport) -> dict[str, Any]:
    found = report.found
    return {
        "part": report.part,
        "layout": found.layout if found else None,
        "files": [path.relative_to(folder).as_posix() for path in found.paths] if found else [],
        "tensors": len(found.entries) if found else None,
        "not_needed": report.spare,
        "size_bytes": sum(entry.size_bytes for entry in found.entries) if found else None,
        "numbers": _formats(report),
        "problems": list(report.problems),
    }
