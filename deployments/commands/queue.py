"""``uxo queue``: how much waits and runs, of whom, and for how long."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from deployments.commands.words import AsJson, age, print_json, print_table
from deployments.commands.work import with_overview

if TYPE_CHECKING:
    from deployments.tasks.overview import Load

COLUMNS = ("model", "tenant", "queued", "running", "queued units", "oldest")


def queue(*, as_json: AsJson = False) -> None:
    """Show what waits and runs, by model and tenant, and since when the oldest waits."""
    depth = with_overview(lambda overview: overview.depth())
    if as_json:
        queues = [{"model": one.model, "tenant": one.tenant_id} | asdict(one.load) for one in depth.queues]
        print_json({"queues": queues, "total": asdict(depth.total)})
        return
    rows = [(one.model, one.tenant_id, *_cells(one.load)) for one in depth.queues]
    total = [("total", None, *_cells(depth.total))] if rows else []
    print_table(COLUMNS, rows + total, empty="nothing waits and nothing runs")


def _cells(load: Load) -> tuple[object, ...]:
    return load.queued, load.running, f"{load.queued_units:,.1f}", age(load.oldest_s)
