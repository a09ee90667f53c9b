"""What does a thousand replicas' fleet do, and where does it bend? ``python -m loadtest.fleet``, on a virtual clock.

The store's fair order, the replicas' rules and the autoscaling are the service's own; devices take what the cost table
says. What a database carries is measured apart, on a real one, and then told to the virtual fleet.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import make_url

from deployments.autoscaling import Aim
from loadtest.findings import write_findings
from loadtest.fleet_page import tables
from loadtest.machine import commit, machine
from loadtest.openloop.due import orders_of
from loadtest.openloop.profile import Noisy, Poisson, Profile, Wishes
from loadtest.scheduler.arrivals import NOISY
from loadtest.virtual.fleet import live
from loadtest.virtual.lived import Lived, Setting
from loadtest.virtual.outcome import figures, series
from loadtest.virtual.scaling import ByBacklog, Scaling
from loadtest.virtual.statements import asked_per_s, statements_of_each
from loadtest.virtual.store_rates import store_rates
from loadtest.virtual.work import Work, works_of
from models.cost import UNIT_TOKENS, cost_table

#: One small picture in few steps, 0.8 s of a device on average; of the usual mix a thousand devices carry 180 a second.
WISHES = Wishes(sizes={"512x512": 1}, steps={12: 8, 16: 2}, images={1: 1}, references={0: 2, 1: 8})
#: Into how many parts a fleet falls at least that asks too much of one database, and which share of the claims that a
#: database carries a part may ask for: where it asks for all of them, what waits grows for ever.
PARTS, ROOM = 8, 0.7
#: Nodes of eight replicas that are lost in an hour: far more than of any real fleet, so that a short story has some.
LOSSES_PER_H = 720.0
#: How often every operation of a database is measured.
MEASURED_TASKS = 2000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a fleet is, and what comes to it."""

    #: Replicas at most, orders per second, tenants, and for how long orders come.
    replicas: int
    rate: float
    tenants: int
    seconds: float

    def part(self, parts: int) -> Size:
        """Return one of several equal parts."""
        return replace(
            self, replicas=max(self.replicas // parts, 1), rate=self.rate / parts, tenants=max(self.tenants // parts, 1)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One story of a fleet."""

    #: What is special about it.
    name: str
    #: How large it is.
    size: Size
    #: What it is made of, and what befalls it.
    setting: Setting
    #: Whether one tenant asks for half as much again as all others.
    is_flooded: bool = False


@app.command()
def fleet(
    *,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/fleet.json"),
    replicas: Annotated[int, typer.Option(min=8)] = 1000,
    rate: Annotated[float, typer.Option(min=0.1, help="Orders per second.")] = 1000.0,
    tenants: Annotated[int, typer.Option(min=1)] = 10_000,
    seconds: Annotated[float, typer.Option(min=1)] = 120.0,
    database: Annotated[
        str, typer.Option(help="An empty one to make tables in and measure, or the claims a second it carries.")
    ] = "250",
) -> None:
    """Let fleets live through what befalls them, and print waits, goodput, fairness and what the store is asked."""
    measured = measured_at(database)
    statements = statements_of_each()
    size = Size(replicas=replicas, rate=rate, tenants=tenants, seconds=seconds)
    found = []
    for scene in scenes(size, turn_s=1 / measured["claim"]):
        found.append(figures_of(scene, statements))
        asked = f"{found[-1]['tenants']} of {scene.size.tenants} tenants asked"
        console.print(f"  {scene.name}: {asked}, {found[-1]['wait_s']}")
    facts = {
        "benchmark": "fleet",
        "commit": commit(),
        "machine": machine(),
        "command": " ".join(["python -m loadtest.fleet", *map(unsecret, sys.argv[1:])]),
        "size": asdict(size),
        "costs": cost_table().device,
        "costs_source": cost_table().source,
        "measured_per_s": measured,
        "statements": statements,
        "scenes": found,
    }
    write_findings(output, facts)
    sys.stdout.write(tables(facts))


def measured_at(database: str) -> Mapping[str, float]:
    """Return what a database carries in a second; where it is a number, it was measured before.

    Raises:
        typer.BadParameter: when it is neither a number above 0 nor an address.
    """
    if "://" in database:
        return asyncio.run(store_rates(database, tasks=MEASURED_TASKS))
    try:
        claims = float(database)
    except ValueError:
        claims = math.nan
    if not 0 < claims < math.inf:
        raise typer.BadParameter(f"{database!r} is neither the address of a database nor a number of claims a second")
    return {"claim": claims}


def unsecret(word: str) -> str:
    """Return a word of a command as it may be written down: an address without its password."""
    if "://" not in word:
        return word
    option, sign, address = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{sign}{make_url(address).render_as_string(hide_password=True)}"


def scenes(size: Size, *, turn_s: float) -> list[Scene]:
    """Return what a fleet lives through.

    Args:
        size: of the whole fleet.
        turn_s: for how long a claim keeps others waiting in one database.
    """
    whole = Setting(warm=size.replicas, most=size.replicas)
    parts = parts_of(size.rate, claims_per_s=1 / turn_s)
    part = replace(whole, warm=size.part(parts).replicas, most=size.part(parts).replicas)
    return [
        Scene(name="nothing befalls it", size=size, setting=whole),
        Scene(name="nodes are lost", size=size, setting=replace(whole, losses_per_h=LOSSES_PER_H)),
        Scene(name="from no replica at all", size=size, setting=replace(whole, warm=0)),
        Scene(name="one tenant floods", size=size, setting=whole, is_flooded=True),
        Scene(name="claims take turns in one database", size=size, setting=replace(whole, turn_s=turn_s)),
        Scene(
            name=f"one of {parts} parts, each with a database",
            size=size.part(parts),
            setting=replace(part, turn_s=turn_s),
        ),
    ]


def parts_of(rate: float, *, claims_per_s: float) -> int:
    """Return into how many parts a fleet falls so that the database of each has room: a power of two."""
    needed = rate / (claims_per_s * ROOM)
    return max(1 << math.ceil(math.log2(needed)) if needed > 1 else 1, PARTS)


def figures_of(scene: Scene, statements: Mapping[str, int]) -> dict[str, Any]:
    """Let a scene happen and sum it up; who floods is in no figure but those of the store."""
    works, lived = story_of(scene)
    others = replace(lived, fates=[fate for fate in lived.fates if fate.work.tenant != NOISY])
    asked = asked_per_s(lived, scene.setting)
    return {
        "scene": scene.name,
        "replicas": scene.size.replicas,
        "rate": scene.size.rate,
        "tenants": len({work.tenant for work in works}),
        "mean_work_s": round(sum(work.device_s for work in works) / len(works), 3),
        **figures(others, gpu_hour=0.0),
        "rescued": lived.asked["rescue"],
        "asked_per_s": asked,
        "statements_per_s": {name: round(asked[name] * number) for name, number in statements.items()},
        "over_time": series(lived),
    }


def story_of(scene: Scene) -> tuple[Sequence[Work], Lived]:
    """Draw what comes to a scene's fleet and let it live."""
    size = scene.size
    noisy = Noisy(rate=size.rate / 2, from_s=size.seconds / 4, for_s=size.seconds / 2) if scene.is_flooded else None
    arrivals = Poisson(kind="poisson", rate=size.rate)
    profile = Profile(seconds=size.seconds, arrivals=arrivals, tenants=size.tenants, noisy=noisy, wishes=WISHES)
    works = works_of(orders_of(profile), cost_table())
    return works, live(works, scene.setting, _scaling())


def _scaling() -> Scaling:
    # A replica steps one task at a time; only so does what runs count in full.
    return ByBacklog(aim=Aim(wait_s=10.0, capacity=1, units_per_s=1e3 / cost_table().step(UNIT_TOKENS)))


if __name__ == "__main__":
    app()
