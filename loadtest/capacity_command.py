"""``python -m loadtest find-capacity``: the highest rate of a profile at which a server meets its goals."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from deployments.clock import utc_now
from loadtest.exits import MISSED, STOPPED, UNUSABLE
from loadtest.findings import write_findings
from loadtest.options import Keys, command_of, finite, keys_of
from loadtest.place import NoPlace, check_file, kept, place_of

if TYPE_CHECKING:
    from loadtest.openloop.capacity import Bracket
    from loadtest.openloop.search import Search

console = Console(highlight=False, soft_wrap=True)


def find_capacity(
    profile: Annotated[str, typer.Argument(help="A profile: one of ours by name, or a YAML file.")],
    *,
    key: Keys,
    slo: Annotated[str, typer.Option(help="What has to be met.")] = "p95=20s,errors=0.1%",
    target: Annotated[str, typer.Option(help="Start of every address.")] = "http://127.0.0.1:8000",
    start: Annotated[
        float, typer.Option(min=0.01, max=10_000, callback=finite, help="A guess, in orders per second.")
    ] = 1.0,
    output: Annotated[
        Path | None, typer.Option(help="Where the JSON goes; if nowhere, var/loadtest/PROFILE-TIME/capacity.json.")
    ] = None,
) -> None:
    """Search the highest rate at which a server meets the goals; each rate takes as long as the profile says."""
    console.print(f"{profile} against {target}: looking for the highest rate with {slo}", markup=False)
    asked = {"profile": profile, "target": target, "slo": slo, "start": start}
    options = {"slo": slo, "target": target, "start": start, "output": output}
    command = command_of("find-capacity", profile, keys=keys_of(key), options=options)
    place = output or place_of(profile, now=utc_now()) / "capacity.json"
    sys.exit(_searched({**asked, "output": str(place), "command": command}, keys_of(key)))


def _searched(asked: Mapping[str, Any], keys: Sequence[str]) -> int:
    from loadtest.openloop.profile import UnreadableProfile, read_profile  # noqa: PLC0415 -- brings the HTTP client
    from loadtest.openloop.search import Search, long_enough, takes  # noqa: PLC0415 -- as above
    from loadtest.openloop.slo import UnreadableSlo, parse_needed_slo  # noqa: PLC0415 -- as above

    try:
        check_file(Path(asked["output"]))
        _refuse_trace(asked["profile"])
        goals = parse_needed_slo(asked["slo"])
        profile = long_enough(read_profile(asked["profile"]), goals)
    except (NoPlace, UnreadableProfile, UnreadableSlo) as error:
        console.print(str(error), markup=False)
        return UNUSABLE
    search = Search(profile=profile, goals=goals, target=asked["target"], keys=keys, tell=_tell)
    facts = {**asked, "source": profile.model_dump(mode="json"), **_facts(search)}
    console.print(f"  {takes(profile.seconds)}")
    code, said, found = _ended(search, asked["start"])
    written = _written(Path(asked["output"]), {**facts, **found}, search)
    console.print(f"{said}; written to {written}", markup=False)
    return code


def _refuse_trace(name: str) -> None:
    from loadtest.openloop.profile import UnreadableProfile  # noqa: PLC0415 -- brings the HTTP client
    from loadtest.openloop.source import TRACE  # noqa: PLC0415 -- as above

    if name.endswith(TRACE):
        raise UnreadableProfile(
            f"{name}: a trace has the rate that it has; search with a profile, or hurry the trace with run --speed"
        )


def _ended(search: Search, start: float) -> tuple[int, str, Mapping[str, Any]]:
    """Search; return the exit code, what is said last, and what is written, however the search ended."""
    from loadtest.openloop.capacity import highest_rate  # noqa: PLC0415 -- brings the HTTP client
    from loadtest.openloop.profile import TooManyOrders  # noqa: PLC0415 -- as above
    from loadtest.openloop.run import UnusableTarget  # noqa: PLC0415 -- as above

    try:
        asyncio.run(search.warm(start))
        found = asyncio.run(highest_rate(search.carries, start=start))
    except (TooManyOrders, UnusableTarget) as error:
        return UNUSABLE, *_cut_short(search, str(error))
    except KeyboardInterrupt:
        return STOPPED, *_cut_short(search, "stopped before an end was found")
    found = replace(found, is_late=search.was_late_at(found.missed))
    return 0 if found.carried else MISSED, said_of(found), {**_written_of(found), "ended_by": None}


def _cut_short(search: Search, why: str) -> tuple[str, Mapping[str, Any]]:
    """Return what is said and written of a search that did not come to its end: all that it knew by then."""
    if not search.tries:
        nothing = {"carried_per_s": None, "missed_per_s": None, "is_settled": False, "doubt": ""}
        return why, {**nothing, "ended_by": why}
    known = search.known()
    return f"{why}; until then {said_of(known)}", {**_written_of(known), "ended_by": why}


def _written_of(found: Bracket) -> Mapping[str, Any]:
    return {
        "carried_per_s": found.carried,
        "missed_per_s": found.missed,
        "is_settled": found.is_settled,
        "doubt": found.doubt.lstrip("; "),
    }


def said_of(found: Bracket) -> str:
    """Say in a line what was found, and where it is not to be believed."""
    missed = "none missed" if math.isinf(found.missed) else f"missed at {found.missed:.3f}"
    return f"carried {found.carried:.3f} orders a second, {missed}{found.doubt}"


def _tell(line: str) -> None:
    console.print(f"  {line}", markup=False)


def _facts(search: Search) -> dict[str, Any]:
    from loadtest.machine import commit, machine  # noqa: PLC0415 -- asks git and every package

    return {"commit": commit(), "machine": dict(machine()), "seconds_of_a_rate": search.profile.seconds}


def _written(output: Path, found: Mapping[str, Any], search: Search) -> Path:
    took_s = round(time.monotonic() - search.started, 1)
    whole = {**found, "took_s": took_s, "tries": search.tries}
    return kept(output.parent, lambda folder: write_findings(folder / output.name, whole)) / output.name
