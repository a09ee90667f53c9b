"""API keys: whose key is this? Knows keys and tenants' names, and nothing of calls, quotas or money.

Keys themselves are never kept, only what a keyed hash makes of them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from deployments.errors import Unauthenticated
from deployments.settings import SettingsInvalid

#: Fewest characters of a key.
MIN_KEY_CHARS = 16

_TENANT_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class KeyRing:
    """Tells whose key a caller showed."""

    def __init__(self, keys: Mapping[str, tuple[str, ...]]) -> None:
        """Take every tenant's keys.

        Raises:
            ValueError: when one key belongs to two tenants.
        """
        # The hash is keyed with a secret of this process, so nobody outside can steer which entry a lookup meets,
        # and the time a lookup takes says nothing about any key.
        self._secret = secrets.token_bytes(32)
        self._tenants: dict[bytes, str] = {}
        for tenant, tenant_keys in keys.items():
            for key in tenant_keys:
                self._add(tenant, key)

    def tenant_of(self, api_key: str) -> str:
        """Return the name of the tenant that owns a key.

        Raises:
            Unauthenticated: when nobody does; says the same of a wrong key as of text that could be none.
        """
        tenant = self._tenants.get(self._digest(api_key))
        if tenant is None:
            raise Unauthenticated
        return tenant

    def _add(self, tenant: str, key: str) -> None:
        owner = self._tenants.setdefault(self._digest(key), tenant)
        if owner != tenant:
            raise ValueError(f"tenants {owner} and {tenant} have the same key")

    def _digest(self, api_key: str) -> bytes:
        return hmac.digest(self._secret, api_key.encode("utf-8", "surrogatepass"), hashlib.sha256)

    def __repr__(self) -> str:
        return f"<KeyRing [{len(self._tenants)} keys of {len(set(self._tenants.values()))} tenants]>"


def configured_keys(bootstrap: str, folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Return every tenant's keys: those of ``UXO_BOOTSTRAP_KEYS``, or without any the demo tenant's.

    Raises:
        SettingsInvalid: naming the setting at fault, and no key.
    """
    if not bootstrap:
        return {"demo": (_demo_key_in(folder),)}
    try:
        return parse_bootstrap(bootstrap)
    except ValueError as error:
        raise SettingsInvalid(f"UXO_BOOTSTRAP_KEYS cannot be used: {error}") from error


def _demo_key_in(folder: Path) -> str:
    try:
        return demo_key(folder)
    except OSError as error:
        raise SettingsInvalid(f"UXO_FOLDER={str(folder)!r} cannot be used: {error.strerror}") from error


def parse_bootstrap(text: str) -> Mapping[str, tuple[str, ...]]:
    """Read ``tenant:key,tenant:key``; a tenant may stand there more than once, and a key may hold colons.

    Raises:
        ValueError: naming the entry by its place, never by its content, for that holds a key.
    """
    keys: dict[str, tuple[str, ...]] = {}
    for position, entry in enumerate(text.split(","), start=1):
        tenant, key = _read_entry(entry.strip(), position)
        keys[tenant] = (*keys.get(tenant, ()), key)
    return keys


def _read_entry(entry: str, position: int) -> tuple[str, str]:
    tenant, colon, key = entry.partition(":")
    if not colon:
        raise ValueError(f"entry {position} is not of the form tenant:key")
    if not _TENANT_NAME.fullmatch(tenant):
        raise ValueError(f"entry {position}: a tenant's name is 1 to 64 letters, digits, '.', '_' or '-'")
    if len(key) < MIN_KEY_CHARS:
        raise ValueError(f"entry {position}: a key has at least {MIN_KEY_CHARS} characters")
    return tenant, key


def demo_key(folder: Path) -> str:
    """Return the key of the demo tenant, made at random the first time and kept in ``folder`` for its owner's eyes.

    Processes that ask at the same time get the same key.

    Raises:
        OSError: when the folder cannot be written.
    """
    path = folder / "demo.key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _keep_first(path, f"demo-{secrets.token_hex(16)}")
    return path.read_text(encoding="ascii").strip()


def _keep_first(path: Path, text: str) -> None:
    """Write a file whole or not at all, and leave one that is already there."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{text}\n")
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first, and its key is the key
    finally:
        draft.unlink()
