"""``uxo tasks``: look at tasks of all tenants, end them, ask for failed ones again, and send their pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.commands.task_text import line_fields, line_row, record_fields, record_rows
from deployments.commands.words import (
    AsJson,
    OfTenant,
    count,
    output,
    print_json,
    print_page,
    print_table,
    read_address,
    read_length,
    read_name,
    remarks,
)
from deployments.commands.work import with_overview, with_redelivering
from deployments.operations.operation import Redeliver
from deployments.tasks.task import Task, TaskState

if TYPE_CHECKING:
    from deployments.operations.redelivering import Redelivering
    from deployments.tasks.overview import Overview

app = typer.Typer(no_args_is_help=True, help="Tasks of all tenants.")

COLUMNS = ("task", "tenant", "model", "state", "steps", "attempt", "accepted", "ended", "fault")

TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", parser=read_name, help="32 hex digits.")]
InState = Annotated[TaskState | None, typer.Option("--state", help="Only tasks in this state.")]


@app.command("list")
def list_tasks(
    *,
    tenant: OfTenant = None,
    state: InState = None,
    model: Annotated[str | None, typer.Option(parser=read_name, metavar="NAME", help="Only this model's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show tasks, the newest first."""
    lines = with_overview(lambda overview: overview.list(tenant_id=tenant, state=state, model=model, limit=limit))
    if as_json:
        print_json([line_fields(line) for line in lines])
        return
    print_table(COLUMNS, [line_row(line) for line in lines], empty="there are no such tasks")


@app.command()
def show(task_id: TaskId, *, as_json: AsJson = False) -> None:
    """Show all that is known of a task, but no picture that was sent with it."""
    record = with_overview(lambda overview: overview.show(task_id))
    if as_json:
        print_json(record_fields(record))
        return
    print_page(record_rows(record))


@app.command()
def cancel(task_id: TaskId, *, as_json: AsJson = False) -> None:
    """End a queued or running task; a replica stops at its next step."""
    was_cancelled = with_overview(lambda overview: overview.cancel(task_id))
    if as_json:
        print_json({"task": task_id, "cancelled": was_cancelled})
        return
    output.print(f"cancelled {task_id}" if was_cancelled else f"{task_id} has ended already", soft_wrap=True)


@app.command()
def replay(
    task_id: Annotated[str | None, typer.Argument(metavar="[TASK_ID]", parser=read_name, help="A failed task.")] = None,
    *,
    quarantined: Annotated[bool, typer.Option("--quarantined", help="Every quarantined one not replayed yet.")] = False,
    tenant: OfTenant = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a failed task again, as a new task of its tenant, within its limits and money."""
    if (task_id is None) is not quarantined or (tenant and not quarantined):
        raise typer.BadParameter("name one task, or say --quarantined, with or without --tenant")
    if task_id is None:
        _replay_quarantined(tenant, as_json=as_json)
        return
    new_id = with_overview(lambda overview: overview.replay(task_id))
    if as_json:
        print_json({"task": new_id, "replay_of": task_id})
        return
    output.print(f"{task_id} waits again as {new_id}", soft_wrap=True)


def _replay_quarantined(tenant: str | None, *, as_json: bool) -> None:
    replayed = with_overview(lambda overview: overview.replay_quarantined(tenant_id=tenant))
    if as_json:
        print_json({"accepted": replayed.accepted, "refused": replayed.refused})
        return
    output.print(f"{count(replayed.accepted, 'task')} replayed, {sum(replayed.refused.values()):,} refused")
    for reason, number in replayed.refused.items():
        remarks.print(f"  {number:,}: {reason}", style="yellow")


@app.command()
def redeliver(
    task_id: TaskId,
    url: Annotated[str, typer.Argument(parser=read_address, metavar="URL", help="Takes a PUT of each picture.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Send the pictures of an ended task to an address; nothing is drawn again."""

    async def send(overview: Overview, sending: Redelivering) -> Task:
        tenant_id = (await overview.show(task_id)).task.tenant_id
        return await sending.redeliver(Redeliver(task_id=task_id, url=url), tenant_id)

    task = with_redelivering(send)
    number = len(task.outputs) // len(task.sinks)
    if as_json:
        print_json({"task": task_id, "sent": number})
        return
    output.print(f"sent {count(number, 'picture')} of {task_id}", soft_wrap=True)


@app.command()
def purge(
    *,
    older_than: Annotated[
        float, typer.Option(parser=read_length, metavar="LENGTH", help="Ended so long ago: 7d, 12h.")
    ],
    tenant: OfTenant = None,
    state: InState = None,
    as_json: AsJson = False,
) -> None:
    """Delete ended tasks for good; what was charged for them stays written down."""
    deleted = with_overview(lambda overview: overview.purge(older_than_s=older_than, tenant_id=tenant, state=state))
    if as_json:
        print_json({"deleted": deleted})
        return
    output.print(f"deleted {count(deleted, 'task')}")
