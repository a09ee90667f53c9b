"""``python -m loadtest``: the open-loop load test. Heavy imports wait until a command needs them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from deployments.clock import utc_now
from loadtest import capacity_command, ceiling_command, trace_commands
from loadtest.exits import MISSED, STOPPED, UNUSABLE
from loadtest.options import Keys, command_of, finite, keys_of
from loadtest.place import NoPlace, check_folder, place_of

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
app.command()(capacity_command.find_capacity)
app.command()(ceiling_command.ceiling)
app.add_typer(trace_commands.app, name="trace")
PROFILES = ", ".join(sorted(path.stem for path in (Path(__file__).parent / "profiles").glob("*.yaml")))
console = Console(highlight=False, soft_wrap=True)


@app.callback()
def loadtest() -> None:
    """Put an open-loop load on a server that speaks WaveSpeed, fal or Runware, and say what came of it."""


@app.command()
def run(
    profile: Annotated[
        str,
        typer.Argument(
            help=f"A profile, a YAML file or one of ours ({PROFILES}); or a trace, a file ending in .jsonl."
        ),
    ],
    *,
    speed: Annotated[float, typer.Option(min=0.001, callback=finite, help="How many times as fast orders come.")] = 1.0,
    target: Annotated[str, typer.Option(help="Start of every address.")] = "http://127.0.0.1:8000",
    key: Keys,
    slo: Annotated[str, typer.Option(help="What has to be met, such as p95=20s,errors=0.1%.")] = "",
    output: Annotated[
        Path | None, typer.Option(help="Folder for the report; if none is named, var/loadtest/PROFILE-TIME.")
    ] = None,
) -> None:
    """Run a profile once; exit with 1 when a goal is missed or a task was lost, 2 when nothing could be run."""
    console.print(f"{profile} against {target}")
    started_at = utc_now()
    asked = {"profile": profile, "speed": speed, "target": target, "slo": slo}
    options = {"slo": slo, "target": target, "speed": speed, "output": output}
    asked["command"] = command_of("run", profile, keys=keys_of(key), options=options)
    place = output or place_of(profile, now=started_at)
    sys.exit(_ran(asked, started_at, keys=keys_of(key), output=place))


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def plan(context: typer.Context) -> None:
    """Say how many GPUs a trace or a profile needs; the same as python -m loadtest.plan, with the same options."""
    from loadtest.plan import app as planner  # noqa: PLC0415 -- brings the virtual fleet

    planner(context.args, prog_name="python -m loadtest plan")


def _ran(asked: Mapping[str, Any], started_at: datetime, *, keys: Sequence[str], output: Path) -> int:
    from loadtest.openloop.files import write_report  # noqa: PLC0415 -- brings the HTTP client; the first line is out
    from loadtest.openloop.run import UnusableTarget, perform  # noqa: PLC0415 -- as above
    from loadtest.openloop.slo import UnreadableSlo, parse_slo  # noqa: PLC0415 -- as above
    from loadtest.openloop.source import UnreadableLoad, load_of  # noqa: PLC0415 -- as above
    from loadtest.openloop.telling import tell_findings, watching  # noqa: PLC0415 -- as above

    try:
        check_folder(output)
        facts = {**asked, **_facts(started_at), "keys": len(keys)}
        goals = parse_slo(asked["slo"])
        load = load_of(asked["profile"], speed=asked["speed"], target=asked["target"], keys=keys)
        with watching(console, len(load.orders)) as watch:
            result = asyncio.run(perform(load, watch=watch))
    except (NoPlace, UnreadableLoad, UnreadableSlo, UnusableTarget) as error:
        console.print(str(error), markup=False)
        return UNUSABLE
    except KeyboardInterrupt:
        console.print("stopped before the first order")
        return STOPPED
    found = result.found(goals)
    facts |= {"was_stopped": result.was_stopped, "source": load.source}
    tell_findings(console, found, write_report(output, facts=facts, found=found, records=result.records))
    if result.was_stopped:
        return STOPPED
    is_met = all(each["is_met"] for each in found["slo"]) and found["error_share"] != 1.0
    return 0 if result.ledger.is_sound and is_met else MISSED


def _facts(started_at: datetime) -> dict[str, Any]:
    from loadtest.machine import commit, machine  # noqa: PLC0415 -- asks git and every package

    return {
        "started_at": started_at.isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": dict(machine()),
    }


if __name__ == "__main__":
    app()
