"""``python -m loadtest``: the open-loop load test. Heavy imports wait until a command needs them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from deployments.clock import utc_now

#: How the process ends when the goals were missed or the ledger is broken, when nothing could be run, and after Ctrl-C.
MISSED, UNUSABLE, STOPPED = 1, 2, 130

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)


@app.callback()
def loadtest() -> None:
    """Put an open-loop load on a server that speaks WaveSpeed, fal or Runware, and say what came of it."""


@app.command()
def run(
    profile: Annotated[str, typer.Argument(help="A profile: one of ours by name, or a YAML file.")],
    *,
    target: Annotated[str, typer.Option(help="Start of every address.")] = "http://127.0.0.1:8000",
    key: Annotated[
        str, typer.Option("--key", "--tenants", help="Keys of tenants, with commas between; dealt in turn.")
    ],
    slo: Annotated[str, typer.Option(help="What has to be met, such as p95=20s,errors=0.1%.")] = "",
    webhooks_at: Annotated[str, typer.Option(help="Receive webhooks there, such as http://10.0.0.7:9000.")] = "",
    output: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("var/loadtest"),
) -> None:
    """Run a profile once; exit with 1 when a goal is missed or a task was lost, 2 when nothing could be run."""
    console.print(f"{profile} against {target}")
    started_at = utc_now()
    sys.exit(_ran(profile, started_at, target=target, keys=key, slo=slo, webhooks_at=webhooks_at, output=output))


def _ran(name: str, started_at: datetime, *, output: Path, **asked: str) -> int:
    from loadtest.openloop.files import write_report  # noqa: PLC0415 -- brings the HTTP client; the first line is out
    from loadtest.openloop.profile import UnreadableProfile  # noqa: PLC0415 -- as above
    from loadtest.openloop.run import UnusableTarget  # noqa: PLC0415 -- as above
    from loadtest.openloop.slo import UnreadableSlo  # noqa: PLC0415 -- as above
    from loadtest.openloop.telling import tell_findings  # noqa: PLC0415 -- as above

    try:
        result, found = _performed(name, **asked)
    except (UnreadableProfile, UnreadableSlo, UnusableTarget) as error:
        console.print(str(error), markup=False)
        return UNUSABLE
    write_report(output, facts=_facts(name, started_at, asked, result.was_stopped), found=found, records=result.records)
    tell_findings(console, found, output)
    if result.was_stopped:
        return STOPPED
    is_good = result.ledger.is_sound and all(each["is_met"] for each in found["slo"])
    return 0 if is_good else MISSED


def _performed(name: str, *, target: str, keys: str, slo: str, webhooks_at: str) -> tuple[Any, dict[str, Any]]:
    from loadtest.openloop.due import orders_of  # noqa: PLC0415 -- as above
    from loadtest.openloop.profile import UnreadableProfile, read_profile  # noqa: PLC0415 -- as above
    from loadtest.openloop.run import Load, perform  # noqa: PLC0415 -- as above
    from loadtest.openloop.slo import parse_slo  # noqa: PLC0415 -- as above
    from loadtest.openloop.telling import watching  # noqa: PLC0415 -- as above

    profile, goals = read_profile(name), parse_slo(slo)
    if profile.ends == "webhook" and not webhooks_at:
        raise UnreadableProfile(f"{name}: ends come by webhook; say where they are received with --webhooks-at")
    load = Load(
        orders=orders_of(profile),
        target=target,
        keys=keys_of(keys),
        poll_s=profile.poll_s,
        patience_s=profile.patience_s,
        webhooks_at=webhooks_at,
    )
    with watching(console, len(load.orders)) as watch:
        result = asyncio.run(perform(load, watch=watch))
    return result, result.found(goals)


def _facts(name: str, started_at: datetime, asked: dict[str, str], was_stopped: bool) -> dict[str, Any]:  # noqa: FBT001 -- a fact among others
    from loadtest.machine import commit, machine  # noqa: PLC0415 -- asks git and every package

    return {
        "profile": name,
        "target": asked["target"],
        "slo": asked["slo"],
        "keys": len(keys_of(asked["keys"])),
        "started_at": started_at.isoformat(timespec="seconds"),
        "was_stopped": was_stopped,
        "commit": commit(),
        "machine": dict(machine()),
    }


def keys_of(text: str) -> Sequence[str]:
    """Take keys apart that are written with commas between them."""
    return [key.strip() for key in text.split(",") if key.strip()] or [""]


if __name__ == "__main__":
    app()
