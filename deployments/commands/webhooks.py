"""``uxo webhooks``: look at what callers are told of the ends of their tasks, and have it told again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.commands.words import (
    AsJson,
    OfTenant,
    age,
    count,
    output,
    print_json,
    print_table,
    read_name,
    remarks,
    shown,
)
from deployments.commands.work import with_outbox
from deployments.tasks.webhook import WebhookState

if TYPE_CHECKING:
    from deployments.tasks.webhook import WebhookLine

app = typer.Typer(no_args_is_help=True, help="Webhooks of all tenants.")

COLUMNS = ("webhook", "tenant", "task", "to", "state", "tries", "last answer", "due")

InState = Annotated[WebhookState | None, typer.Option("--state", help="Only webhooks in this state.")]


@app.command("list")
def list_webhooks(
    *,
    tenant: OfTenant = None,
    state: InState = None,
    task: Annotated[str | None, typer.Option(parser=read_name, metavar="TASK_ID", help="Only this task's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show webhooks, the newest first."""
    lines = with_outbox(lambda outbox: outbox.list(tenant_id=tenant, state=state, task_id=task, limit=limit))
    if as_json:
        print_json([_fields(line) for line in lines])
        return
    print_table(COLUMNS, [_row(line) for line in lines], empty="there are no such webhooks")


@app.command()
def replay(
    webhook_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[WEBHOOK_ID]...", parser=read_name, help="As listed.")
    ] = None,
    *,
    state: InState = None,
    tenant: OfTenant = None,
    as_json: AsJson = False,
) -> None:
    """Send webhooks again at once, from the first try on: some by their ids, or all in a state."""
    if bool(webhook_ids) is (state is not None) or (tenant and state is None):
        raise typer.BadParameter("name webhooks, or say --state, with or without --tenant")
    if state is not None:
        replayed = with_outbox(lambda outbox: outbox.replay_all(state, tenant_id=tenant))
        _print_replayed(replayed, (), as_json=as_json)
        return
    wanted = list(dict.fromkeys(webhook_ids or ()))
    found = with_outbox(lambda outbox: outbox.replay(wanted))
    unknown = [one for one in wanted if one not in found]
    _print_replayed(len(found), unknown, as_json=as_json)
    if unknown:
        raise typer.Exit(1)


def _print_replayed(replayed: int, unknown: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"replayed": replayed, "unknown": unknown})
        return
    output.print(f"{count(replayed, 'webhook')} will be sent again")
    for one in unknown:
        remarks.print(f"there is no webhook {shown(one)}", style="red")


def _row(line: WebhookLine) -> tuple[object, ...]:
    due_in_s = (line.due_at - line.seen_at).total_seconds()
    return (
        line.id,
        line.tenant_id,
        line.task_id,
        line.host or None,
        line.state,
        line.attempts,
        line.last_answer,
        (age(due_in_s) if due_in_s > 0 else "now") if line.state is WebhookState.WAITING else None,
    )


def _fields(line: WebhookLine) -> dict[str, object]:
    return {
        "webhook": line.id,
        "tenant": line.tenant_id,
        "task": line.task_id,
        "to": line.host,
        "state": line.state,
        "tries": line.attempts,
        "last_answer": line.last_answer,
        "due_at": line.due_at if line.state is WebhookState.WAITING else None,
    }
