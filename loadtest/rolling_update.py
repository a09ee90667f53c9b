"""Do rolling updates fail any call, or lose any task? A real cluster, real ``serve deploy``, and a book kept outside.

    calls    ── twenty a second, all the time ──────────────────────────────────► every task read to its end, and again
    cluster     two of each   │ update: all replicas replaced │ the same again │

An update changes an argument of the application, so that every replica of every deployment is replaced. Without
``--database`` the queue is a SQLite file, which both ingresses share.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import make_url

from deployments.serve_config import read_serve_config
from loadtest.cluster import Cluster, clustered
from loadtest.figures import percentile
from loadtest.findings import write_findings
from loadtest.machine import commit, machine
from loadtest.openloop.ledger import Ledger
from loadtest.openloop.wire import connected
from loadtest.steady import Call, Steady

#: The Serve config to begin with.
CONFIG = Path("serve_config.yaml")
KEY = "key-of-the-rolling-update"
#: Seconds for which a call is held, and in which an ingress that is told to stop ends those that it holds.
HOLD_S, GRACE_S = 60.0, 90.0
#: Seconds until every task has to have ended once nobody calls any more.
SETTLE_S = 300.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """What came of some updates under load."""

    #: Every call.
    calls: Sequence[Call]
    #: When each update began and was done, in seconds on the clock of the calls.
    updates: Sequence[tuple[float, float]]
    #: The reckoning.
    ledger: Ledger
    #: Tasks by what is known of them.
    ends: Mapping[str, int]

    @property
    def failed(self) -> Mapping[str, int]:
        """Count the failed calls by what was wrong with them."""
        return failures(self.calls)

    @property
    def is_good(self) -> bool:
        """Whether no call failed, and no task was lost or doubled, or has failed."""
        return not self.failed and self.ledger.is_sound and set(self.ends) == {"succeeded"}


@app.command()
def rolling_update(
    *,
    updates: Annotated[int, typer.Option(min=1, help="Rolling updates, one after another.")] = 2,
    rate: Annotated[float, typer.Option(min=0.1, help="Calls a second.")] = 20.0,
    calm: Annotated[float, typer.Option(min=0, help="Seconds of calls before, between and after.")] = 20.0,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("var/bench/rolling_update.json"),
    port: Annotated[int, typer.Option(help="The first of a hundred ports.")] = 18900,
    database: Annotated[
        str,
        typer.Option(envvar="UXO_DATABASE_URL", help="URL of an empty database; a SQLite file where there is none."),
    ] = "",
) -> None:
    """Update a real cluster under load; exit with 1 when a call failed or a task was lost."""
    settings = {
        "UXO_BOOTSTRAP_KEYS": f"roller:{KEY}",
        "UXO_ALLOW_PRIVATE_NETWORKS": "true",
        "UXO_SYNC_WAIT_S": str(HOLD_S),
        "UXO_DATABASE_URL": database,
    }
    first = on_one_node(doubled(read_serve_config(CONFIG)), port)
    facts = {"benchmark": "rolling_update", "commit": commit(), "machine": machine(), "rate": rate}
    facts["database"] = make_url(database or "sqlite://").get_backend_name()
    with clustered(port, **settings) as cluster:
        cluster.migrate()
        cluster.deploy(first)
        console.print(f"{len(cluster.replicas())} replicas run; calling")
        rolled = asyncio.run(roll(cluster, versions(first, updates), rate=rate, calm_s=calm, key=KEY))
    write_findings(output, facts | written(rolled))
    sys.stdout.write(markdown(rolled))
    sys.exit(not rolled.is_good)


async def roll(
    cluster: Cluster, configs: Sequence[Mapping[str, Any]], *, rate: float, calm_s: float, key: str
) -> Rolled:
    """Deploy one config after another while calls go on."""
    updates: list[tuple[float, float]] = []
    stopping = asyncio.Event()
    async with connected(cluster.base_url) as wire:
        steady = Steady(wire, key=key, rate=rate)
        async with asyncio.TaskGroup() as group:
            group.create_task(steady.run(stopping))
            await asyncio.sleep(calm_s)
            for config in configs:
                began_s = time.monotonic()
                await asyncio.to_thread(cluster.deploy, config)
                updates.append((began_s, time.monotonic()))
                console.print(
                    f"update {len(updates)} is done: {steady!r}, {dict(failures(steady.calls))}", markup=False
                )
                await asyncio.sleep(calm_s)
            stopping.set()
        console.print(f"calls are over: {steady!r}", markup=False)
        ledger = await steady.settle(patience_s=SETTLE_S)
    return Rolled(calls=steady.calls, updates=updates, ledger=ledger, ends=steady.ends())


def failures(calls: Sequence[Call]) -> Mapping[str, int]:
    """Count the failed calls by what was wrong with them."""
    return Counter(f"{call.kind}: {call.error}" for call in calls if call.error)


def doubled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Serve config with two ingresses, and two replicas that hold both models, as the chart has them."""
    [application] = config["applications"]
    deployments = [
        {"name": name, "num_replicas": number} for name, number in (("ingress", 2), ("housekeeper", 1), ("flux", 2))
    ]
    args = {"replicas": {"flux": ["uno", "uso"]}, "capacity": 4, "grace_s": GRACE_S}
    return {**config, "applications": [{**application, "args": args, "deployments": deployments}]}


def on_one_node(config: Mapping[str, Any], port: int) -> dict[str, Any]:
    """Return a cluster's Serve config for one node: its replicas share it, and it listens on this machine alone."""
    [application] = config["applications"]
    deployments = [
        {name: value for name, value in each.items() if name != "max_replicas_per_node"}
        for each in application["deployments"]
    ]
    return {
        **config,
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [{**application, "deployments": deployments}],
    }


def versions(config: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """Return so many configs, each of which replaces every replica of the one before it."""
    [application] = config["applications"]
    capacity = application["args"]["capacity"]
    return [
        {**config, "applications": [{**application, "args": {**application["args"], "capacity": capacity + 1 + each}}]}
        for each in range(number)
    ]


def written(rolled: Rolled) -> dict[str, Any]:
    """Write what came of it for JSON."""
    return {
        "calls": len(rolled.calls),
        "failed": dict(rolled.failed),
        "update_s": [round(ended_s - began_s, 1) for began_s, ended_s in rolled.updates],
        "tasks": dict(rolled.ends),
        "ledger": asdict(rolled.ledger) | {"is_sound": rolled.ledger.is_sound, "text": str(rolled.ledger)},
        "phases": phases(rolled),
    }


def phases(rolled: Rolled) -> list[dict[str, Any]]:
    """Tell calls within updates from those without, by kind."""
    rows = []
    for phase, is_within in (("calm", False), ("update", True)):
        for kind in ("submit", "hold", "read"):
            calls = [
                call
                for call in rolled.calls
                if call.kind == kind and is_within == any(began <= call.at_s < end for began, end in rolled.updates)
            ]
            took_ms = sorted(call.took_s * 1000 for call in calls) or [0.0]
            ranks = {name: round(percentile(took_ms, rank)) for name, rank in (("p50_ms", 0.5), ("p99_ms", 0.99))}
            failed = sum(bool(call.error) for call in calls)
            rows.append({"phase": phase, "kind": kind, "calls": len(calls), "failed": failed, **ranks})
    return rows


def markdown(rolled: Rolled) -> str:
    """Write what came of it as a table and a sentence."""
    names = ("phase", "kind", "calls", "failed", "p50_ms", "p99_ms")
    lines = ["| during | call | calls | failed | p50 ms | p99 ms |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(str(row[name]) for name in names)} |" for row in phases(rolled)]
    took = ", ".join(f"{ended_s - began_s:.0f} s" for began_s, ended_s in rolled.updates)
    failures = "; ".join(f"{count} x {error}" for error, count in rolled.failed.items()) or "none failed"
    return "\n".join(
        [*lines, "", f"{len(rolled.calls)} calls, {failures}; updates took {took}; ledger {rolled.ledger}", ""]
    )


if __name__ == "__main__":
    app()
