"""``uxo keys``: by which tenants are known. A new key is shown once; nothing here or in the database keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.clock import utc_now
from deployments.commands.words import AsJson, TenantName, age, output, print_json, print_table, read_name, remarks
from deployments.commands.work import existing, one_line, with_directory
from deployments.settings import read_settings
from deployments.tenants.keys import BELIEVE_S, digest, key_id, make_key, server_secret

if TYPE_CHECKING:
    from deployments.tenants.directory import KeyRecord, TenantDirectory

app = typer.Typer(no_args_is_help=True, help="API keys: by which tenants are known.")

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", parser=read_name, help="The eight characters after uxo_.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made, and what became of those before it."""

    #: The key itself.
    key: str
    #: Ids of older keys that are good still.
    good: tuple[str, ...] = ()
    #: Ids of older keys that were taken away for it.
    revoked: tuple[str, ...] = ()


@app.command()
def create(tenant: TenantName, *, as_json: AsJson = False) -> None:
    """Make a key for a tenant, and show it this once."""
    new = NewKey(key=make_key())
    found = _digest(new.key)
    with_directory(lambda directory: directory.add_key(tenant, key_id=key_id(new.key), digest=found))
    _show(new, tenant, as_json=as_json)


@app.command("list")
def list_keys(tenant: TenantName, *, as_json: AsJson = False) -> None:
    """Show a tenant's keys by their ids, the oldest first."""
    keys = with_directory(lambda directory: _keys_of(directory, tenant))
    if as_json:
        print_json([_fields(key) for key in keys])
        return
    print_table(("key", "made", "state"), [_row(key) for key in keys], empty=f"tenant {tenant} has no keys yet")


@app.command()
def rotate(tenant: TenantName, *, as_json: AsJson = False) -> None:
    """Make a new key beside the newest good one, which stays good until it is revoked; revoke any older."""
    key = make_key()
    found = _digest(key)

    async def work(directory: TenantDirectory) -> NewKey:
        good = [record.id for record in await _keys_of(directory, tenant) if record.revoked_at is None]
        for older in good[:-1]:
            await directory.revoke_key(older)
        await directory.add_key(tenant, key_id=key_id(key), digest=found)
        return NewKey(key=key, good=tuple(good[-1:]), revoked=tuple(good[:-1]))

    _show(with_directory(work), tenant, as_json=as_json)


@app.command()
def revoke(key: KeyId, *, as_json: AsJson = False) -> None:
    """Take a key away; within seconds no process accepts it."""
    with_directory(lambda directory: directory.revoke_key(key))
    if as_json:
        print_json({"key_id": key, "revoked": True})
        return
    output.print(f"revoked key {key}; every process refuses it within {BELIEVE_S:g} s", soft_wrap=True)


def _digest(key: str) -> str:
    with one_line():
        settings = read_settings()
        secret = server_secret(settings.secret, settings.folder)
    if not settings.secret and not settings.store_url.startswith("sqlite"):
        remarks.print(
            f"UXO_SECRET is not set: this key is good only where {settings.folder / 'secret'} is this very file",
            style="yellow",
        )
    return digest(key, secret=secret)


async def _keys_of(directory: TenantDirectory, tenant: str) -> list[KeyRecord]:
    await existing(directory, tenant)
    return await directory.keys_of(tenant)


def _show(new: NewKey, tenant: str, *, as_json: bool) -> None:
    if as_json:
        fields = {"tenant": tenant, "key_id": key_id(new.key), "key": new.key}
        print_json({**fields, "good": new.good, "revoked": new.revoked})
        return
    output.print(new.key, soft_wrap=True)
    remarks.print("Shown this once: only a digest of it is kept. A lost key is replaced: uxo keys rotate " + tenant)
    for older in new.revoked:
        remarks.print(f"Revoked key {older}.")
    for older in new.good:
        remarks.print(f"Key {older} stays good; once nobody uses it any more: uxo keys revoke {older}")


def _row(key: KeyRecord) -> tuple[object, ...]:
    now = utc_now()
    made = f"{age((now - key.created_at).total_seconds())} ago"
    if key.revoked_at is None:
        return key.id, made, "good"
    return key.id, made, f"revoked {age((now - key.revoked_at).total_seconds())} ago"


def _fields(key: KeyRecord) -> dict[str, object]:
    return {
        "key_id": key.id,
        "tenant": key.tenant_id,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
        "is_good": key.revoked_at is None,
    }
