"""What a run is told in the end: tables for people, JSON for machines, both from the same verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from acceptance.chaos.evidence import Evidence, Verdict
from acceptance.chaos.invariants import judge
from acceptance.chaos.keeping import innocents, was_rescued
from acceptance.chaos.letterbox import Welcome
from acceptance.chaos.scene import Outcome

#: A run as plain values.
Report = dict[str, Any]

#: What every page of a run begins with.
WHAT = """# Chaos

**What.** An adversary outside the service kills it with SIGKILL, stops it with SIGSTOP for longer than a lease,
restarts and kills PostgreSQL, and disturbs every connection to it, while a load client sends wishes, repeats what got
no answer, cancels some, and keeps an append-only ledger of its own. Every fifth wish asks for a webhook, whose receiver
answers 500, hangs or hangs up some times before it takes it. Gateways, replicas and housekeepers are the service's real
parts; only the engine is fake: its pictures are a function of seed and prompt. In the end the ledger, the journals of
the replicas and of the receiver, the pictures on disk and plain SQL on the database, with a history that triggers keep,
are held against each promise.

**What it shows.** Nothing found among n things says: fewer than 3/n of them, with 95 % confidence. It never says: none.
"""

#: Violations that are shown of each promise.
SHOWN = 5


def report_of(name: str, outcome: Outcome) -> Report:
    """Sum up a run as plain values."""
    verdicts = judge(outcome.evidence)
    return {
        "name": name,
        "is_complete": outcome.evidence.is_complete,
        "invariants": [_line_of(verdict) for verdict in verdicts],
        "faults": dict(sorted(outcome.faults.items())),
        "figures": _figures(outcome),
    }


def violations_of(report: Report) -> dict[str, list[str]]:
    """Return what was found against each promise that was broken."""
    return {line["code"]: line["examples"] for line in report["invariants"] if line["violations"]}


def _line_of(verdict: Verdict) -> dict[str, Any]:
    return {
        "code": verdict.code,
        "says": verdict.says,
        "checked": verdict.checked,
        "violations": len(verdict.violations),
        "examples": list(verdict.violations[:SHOWN]),
    }


def _figures(outcome: Outcome) -> dict[str, Any]:
    evidence = outcome.evidence
    states = [row["state"] for row in evidence.record.tasks]
    took = sorted(entry["took_s"] for entry in evidence.of("answered") if entry["status"] == 200)
    refused = [entry for entry in evidence.witnessed("ended") if not entry["accepted"]]
    return {
        "wishes": len(evidence.wishes),
        "submits sent": len(evidence.of("sent")),
        "submits without an answer": _answers(evidence, 0),
        "submits answered 500": _answers(evidence, 500),
        "submits answered 503": _answers(evidence, 503),
        "tasks accepted": len(states),
        **{f"tasks {state}": states.count(state) for state in sorted(set(states))},
        "tasks given up though nothing was wrong with them": len(innocents(evidence)),
        "claims": len(evidence.witnessed("claimed")),
        "leases that ended before their tasks": sum(was_rescued(row) for row in evidence.record.history),
        "writes refused after a lost lease": len(refused),
        **_webhooks(evidence),
        "processes started": outcome.lives,
        "submit p50 ms": _percentile_ms(took, 0.50),
        "submit p99 ms": _percentile_ms(took, 0.99),
        "seconds from calm until all had ended": _round(outcome.terminal_after_s),
        "seconds in all": _round(outcome.took_s),
    }


def _webhooks(evidence: Evidence) -> dict[str, int]:
    states = Counter(row["state"] for row in evidence.record.webhooks)
    taken = Counter(entry["id"] for entry in evidence.mail if entry["welcome"] == Welcome.TAKES)
    return {
        "webhooks sent": len(evidence.mail),
        **{f"webhooks {state}": times for state, times in sorted(states.items())},
        "webhooks taken more than once": sum(times > 1 for times in taken.values()),
    }


def _answers(evidence: Evidence, status: int) -> int:
    return sum(entry["status"] == status for entry in evidence.of("answered"))


def _percentile_ms(ordered: Sequence[float], share: float) -> float | None:
    return round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1) if ordered else None


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def write_tables(report: Report) -> str:
    """Write a run as Markdown tables."""
    invariants = [
        [line["code"], line["says"], _shown(line["checked"]), _shown(line["violations"], none=line["checked"] is None)]
        for line in report["invariants"]
    ]
    parts = [
        f"## {report['name']}{'' if report['is_complete'] else ' (interrupted)'}",
        _table(["", "invariant", "checked", "violations"], invariants),
        _table(["fault", "fired"], [[name, _shown(times)] for name, times in report["faults"].items()]),
        _table(["figure", ""], [[name, _shown(value)] for name, value in report["figures"].items()]),
    ]
    examples = [f"- {line['code']}: {each}" for line in report["invariants"] for each in line["examples"]]
    return "\n\n".join([*parts, *(["\n".join(examples)] if examples else [])])


def write_document(run: dict[str, Any]) -> str:
    """Write the page that shows a whole run: what it was, what it was measured on, and every table."""
    machine = run["machine"]
    measured = (
        f"**Machine.** {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB,"
        f" Python {machine['python']}, SQLAlchemy {machine['sqlalchemy']}, asyncpg {machine['asyncpg']};"
        f" {run['ended']}, commit `{run['commit']}`, one-minute load {machine['load_average_at_start']} at its end;"
        " shared with other work."
    )
    command = (
        f"**Command.** `{run['command']}`; `make test` runs it small, with seven planted bugs that it has to find."
    )
    return "\n\n".join([WHAT.rstrip(), command, measured, *(write_tables(report) for report in run["reports"]), ""])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _shown(value: object, *, none: bool = False) -> str:
    if value is None or none:
        return "-"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
