"""Chaos from the command line; ``make chaos`` runs all of it at full size."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from acceptance.chaos.bugs import Bug
from acceptance.chaos.killer import Pace
from acceptance.chaos.plan import (
    EVERYTHING,
    EVERYTHING_SOON,
    ONLY_PROCESSES,
    Plan,
    chaos,
    planted,
    racing_keys,
    racing_submits,
    zombies,
)
from acceptance.chaos.report import Report, report_of, violations_of, write_document, write_tables
from acceptance.chaos.scene import perform
from postgresql_server import PostgresServer

from deployments.clock import utc_now
from loadtest.machine import commit, machine

#: Seconds from which on a run has time for faults at the pace of other people's chaos tests.
LONG_S = 120


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for, print its tables, and return 1 when a promise was broken."""
    options = _read(arguments)
    # Whoever ends this process in good order gets its tables, and leaves no server behind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    _say(f"chaos: {', '.join(options.campaigns)}")
    reports: list[Report] = []
    with _server(options.sqlite) as server:
        for plan in _plans(options):
            reports.append(_perform(plan, server, options.keep))
            sys.stdout.write(f"\n{write_tables(reports[-1])}\n\n")
            sys.stdout.flush()
            if not reports[-1]["is_complete"]:
                break
    if options.docs:
        _write_docs(options.docs, reports, " ".join(["python -m acceptance.chaos", *arguments]))
    return int(any(violations_of(report) for report in reports))


def _perform(plan: Plan, server: PostgresServer | None, keep: Path | None) -> Report:
    with _folder(keep) as folder:
        outcome = asyncio.run(perform(plan, folder, server=server, tell=_say))
        return report_of(plan.name, outcome)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield Path(tempfile.mkdtemp(dir=keep))
        return
    with tempfile.TemporaryDirectory(prefix="uxo-chaos-") as folder:
        yield Path(folder)


@contextmanager
def _server(is_unwanted: bool) -> Iterator[PostgresServer | None]:  # noqa: FBT001 -- a switch of the command line
    if is_unwanted:
        yield None
        return
    server = PostgresServer(durable=True)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _plans(options: argparse.Namespace) -> Iterator[Plan]:
    makers: dict[str, Callable[[], Plan]] = {
        "chaos": lambda: _chaos(options),
        "keys": lambda: racing_keys(options.keys, over_s=options.keys / 12),
        "budget": lambda: racing_submits(options.submits, over_s=options.submits / 80),
        "zombies": lambda: zombies(options.zombies),
        "nothing": lambda: planted(None),
    }
    for name in options.campaigns:
        yield planted(Bug(name)) if name in set(Bug) else makers[name]()


def _chaos(options: argparse.Namespace) -> Plan:
    plan = chaos(options.tasks, over_s=options.seconds, pace=_pace(options), seed=options.seed)
    return _narrowed(plan, options.only)


def _pace(options: argparse.Namespace) -> Pace:
    if options.sqlite:
        return ONLY_PROCESSES
    return EVERYTHING_SOON if options.seconds < LONG_S else EVERYTHING


def _narrowed(plan: Plan, only: Sequence[str] | None) -> Plan:
    """Leave out every fault but some; all stay where none is named."""
    if only is None:
        return plan
    pace = replace(
        plan.pace,
        process_every_s=plan.pace.process_every_s if "processes" in only else None,
        database_every_s=plan.pace.database_every_s if "database" in only else None,
        proxy_every_s=plan.pace.proxy_every_s if "proxy" in only else None,
    )
    return replace(plan, pace=pace, crash_points=plan.crash_points if "points" in only else ())


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("campaigns", nargs="*", default=["chaos", "keys", "budget", "zombies"])
    parser.add_argument("--tasks", type=int, default=10_000, help="of the chaos campaign, about")
    parser.add_argument("--seconds", type=float, default=600, help="over which they are spread")
    parser.add_argument("--keys", type=int, default=1000, help="keys, each sent in five racing copies")
    parser.add_argument("--submits", type=int, default=10_000, help="submits that race for a budget")
    parser.add_argument("--zombies", type=int, default=200, help="replicas that are stopped and go on")
    parser.add_argument("--sqlite", action="store_true", help="no server, no proxy, no restarts of the database")
    parser.add_argument("--only", nargs="*", help="of the faults of chaos: processes, points, database, proxy")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--docs", type=Path, help="a folder for chaos.json and chaos.md")
    parser.add_argument("--keep", type=Path, help="a folder in which to keep ledgers, journals and logs")
    return parser.parse_args(arguments)


def _write_docs(folder: Path, reports: Sequence[Report], command: str) -> None:
    run = {
        "command": command,
        "machine": dict(machine()),
        "commit": commit(),
        "ended": f"{utc_now():%Y-%m-%d}",
        "reports": reports,
    }
    (folder / "chaos.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    (folder / "chaos.md").write_text(write_document(run), encoding="utf-8")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
