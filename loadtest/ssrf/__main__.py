"""Runs every scene in a network of its own, and writes down what came of it.

python -m loadtest.ssrf
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from deployments.outbound.client import GuardedClient
from deployments.outbound.rules import Rules
from loadtest.findings import write_findings
from loadtest.machine import commit, machine
from loadtest.ssrf import scenes as tried
from loadtest.ssrf.authority import Authority
from loadtest.ssrf.doors import Found, World
from loadtest.ssrf.network import Listeners, Names, enter, furnish, peopled
from loadtest.ssrf.origin import talk
from loadtest.ssrf.spellings import NAMED
from loadtest.ssrf.targets import ORIGIN, ORIGIN_NAME, PUBLIC, TARGETS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


async def look(*, tries: int, total_s: float) -> dict[str, Found]:
    """Run every scene in the small world."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        names = Names()
        names.answers[ORIGIN_NAME] = partial(tried.always, [ORIGIN])
        for target in TARGETS:
            names.answers[f"{target.replace('.', '-')}.{NAMED}"] = partial(tried.always, [target])
        listeners = Listeners(talk, public=frozenset(PUBLIC), tls=authority.serving_all(ORIGIN_NAME))
        client = GuardedClient(Rules(), tls=authority.trusting(), total_s=total_s)
        world = World(names=names, listeners=listeners, client=client, authority=authority)
        async with peopled(names, listeners):
            return {
                "spellings": await tried.spelt(world),
                "addresses": await tried.addresses(world),
                "names that change": await tried.rebound(world, tries=tries),
                "redirects": await tried.redirected(world),
                "certificates": await tried.certified(world),
                "stalls": await tried.stalled(world),
                "without the guard": await tried.unguarded(world),
            }


def markdown(scenes: Mapping[str, Found]) -> str:
    """Write the scenes as a table."""
    lines = ["| scene | calls | answered | forbidden connections | otherwise than they had to | longest s |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for name, found in scenes.items():
        cells = (f"{found.calls:,}", f"{found.answered:,}", found.forbidden, len(found.wrong), f"{found.slowest_s:.1f}")
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


@app.command()
def ssrf(
    *,
    tries: Annotated[int, typer.Option(min=1, help="Names that change their mind, of each of three kinds.")] = 1000,
    total_s: Annotated[float, typer.Option(help="Seconds that a call may take.")] = 15.0,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/ssrf.json"),
    inside: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Try every way we know to lead the guard astray; exit with 1 if one leads anywhere."""
    if not inside:
        raise typer.Exit(enter("loadtest.ssrf", [*sys.argv[1:], "--inside"]))
    furnish()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # every call of the last scene would be told
    scenes = asyncio.run(look(tries=tries, total_s=total_s))
    told = {name: _plain(found) for name, found in scenes.items()}
    facts = {"benchmark": "ssrf", "commit": commit(), "machine": machine(), "scenes": told}
    write_findings(output, facts)
    sys.stdout.write(markdown(scenes))
    guarded = [found for name, found in scenes.items() if name != "without the guard"]
    is_tight = not any(found.forbidden or found.wrong for found in guarded)
    raise typer.Exit(0 if is_tight and scenes["without the guard"].forbidden else 1)


def _plain(found: Found) -> dict[str, Any]:
    return {
        "calls": found.calls,
        "answered": found.answered,
        "forbidden": found.forbidden,
        "slowest_s": round(found.slowest_s, 2),
        "reasons": dict(found.reasons.most_common()),
        "wrong": found.wrong[:20],
    }


if __name__ == "__main__":
    app()
