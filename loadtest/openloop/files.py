"""A report's files: the findings as JSON, one line per order as CSV, and the page. Knows no server."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.findings import write_findings
from loadtest.openloop.page import page
from loadtest.openloop.record import Record
from loadtest.place import kept

#: Columns of the CSV beside those of the order.
_COLUMNS = (
    "lateness_s",
    "accepted_s",
    "started_s",
    "ended_s",
    "latency_s",
    "end",
    "error",
    "pictures",
    "reads",
    "task_id",
)


def write_report(
    folder: Path, *, facts: Mapping[str, Any], found: Mapping[str, Any], records: Sequence[Record]
) -> Path:
    """Write ``report.json``, ``orders.csv`` and ``report.html`` into a folder, or as ``kept`` does; return where."""
    return kept(folder, lambda place: _write(place, facts=facts, found=found, records=records))


def _write(folder: Path, *, facts: Mapping[str, Any], found: Mapping[str, Any], records: Sequence[Record]) -> None:
    write_findings(folder / "report.json", {**facts, **found})
    (folder / "report.html").write_text(page(facts, found), encoding="utf-8")
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [asdict(each.order) | {name: getattr(each, name) for name in _COLUMNS} for each in records]
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else list(_COLUMNS))
        writer.writeheader()
        writer.writerows(rows)
