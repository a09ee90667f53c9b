"""``uxo tenants``: who may ask, and for how much."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from deployments.commands.limits import takes_limits
from deployments.commands.words import (
    AsJson,
    TenantName,
    age,
    count,
    dollars,
    in_dollars,
    output,
    print_json,
    print_table,
    size,
)
from deployments.commands.work import existing, with_directory
from deployments.tenants.tenant import Tenant

if TYPE_CHECKING:
    from deployments.tenants.directory import TenantDirectory

app = typer.Typer(no_args_is_help=True, help="Tenants: who may ask, and for how much.")

COLUMNS = (
    "tenant",
    "weight",
    "models",
    "max queued",
    "max units",
    "max running",
    "per minute",
    "max kept",
    "lifetime",
    "budget",
    "spent",
    "held",
    "left",
)


@app.command()
@takes_limits
def create(name: TenantName, *, as_json: AsJson = False, limits: dict[str, Any]) -> None:
    """Make a tenant; what is not said of it is as usual."""
    tenant = Tenant(**({"id": name} | limits))
    with_directory(lambda directory: directory.create(tenant))
    _tell(tenant, f"made tenant {name}; give it a key: uxo keys create {name}", as_json=as_json)


@app.command("list")
def list_tenants(*, as_json: AsJson = False) -> None:
    """Show every tenant, with its limits and its money; - means no limit."""
    tenants = with_directory(lambda directory: directory.all())
    if as_json:
        print_json([_fields(tenant) for tenant in tenants])
        return
    print_table(COLUMNS, [_row(tenant) for tenant in tenants], empty="there are no tenants yet")


@app.command("set")
@takes_limits
def set_limits(name: TenantName, *, as_json: AsJson = False, limits: dict[str, Any]) -> None:
    """Change a tenant's limits; what is not said stays as it is."""
    if not limits:
        raise typer.BadParameter("say what to change, such as --budget 12.5 or --no-budget")

    async def change(directory: TenantDirectory) -> Tenant:
        tenant = replace(await existing(directory, name), **limits)
        await directory.change(tenant)
        return tenant

    _tell(
        with_directory(change),
        f"changed tenant {name}; good at once for what is submitted from now on",
        as_json=as_json,
    )


@app.command()
def delete(name: TenantName, *, as_json: AsJson = False) -> None:
    """Delete a tenant and its keys; its tasks end as they would."""

    async def remove(directory: TenantDirectory) -> int:
        keys = len(await directory.keys_of(name))
        await directory.delete(name)
        return keys

    keys = with_directory(remove)
    if as_json:
        print_json({"tenant": name, "keys_deleted": keys})
        return
    output.print(f"deleted tenant {name} and {count(keys, 'key')}")


def _tell(tenant: Tenant, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_fields(tenant))
        return
    output.print(text, soft_wrap=True)


def _row(tenant: Tenant) -> tuple[object, ...]:
    return (
        tenant.id,
        f"{tenant.weight:g}",
        "all" if tenant.models is None else ", ".join(sorted(tenant.models)),
        tenant.max_queued,
        tenant.max_queued_units,
        tenant.max_running,
        tenant.requests_per_minute,
        size(tenant.max_kept),
        None if tenant.lifetime_s is None else age(tenant.lifetime_s),
        dollars(tenant.budget),
        dollars(tenant.spent),
        dollars(tenant.held),
        dollars(tenant.left),
    )


def _fields(tenant: Tenant) -> dict[str, object]:
    return {
        "tenant": tenant.id,
        "weight": tenant.weight,
        "models": None if tenant.models is None else sorted(tenant.models),
        "max_queued": tenant.max_queued,
        "max_queued_units": tenant.max_queued_units,
        "max_running": tenant.max_running,
        "requests_per_minute": tenant.requests_per_minute,
        "openings": None if tenant.openings is None else sorted(tenant.openings),
        "max_kept_bytes": tenant.max_kept,
        "lifetime_s": tenant.lifetime_s,
        "budget_usd": in_dollars(tenant.budget),
        "spent_usd": in_dollars(tenant.spent),
        "held_usd": in_dollars(tenant.held),
        "left_usd": in_dollars(tenant.left),
    }
