"""API keys: making them, and whose key is this? Knows nothing of calls, quotas or money.

    uxo_<id>_<256 random bits><checksum>        the id is no secret: listings and logs name a key by it

Keys themselves are never kept, only what a keyed hash makes of them. The checksum tells a mistyped key from a wrong
one without asking the database; the caller hears the same of both.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import string
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import TTLCache

from deployments.errors import Unauthenticated
from deployments.settings import SettingsInvalid
from deployments.tenants.tenant import TENANT_ID

if TYPE_CHECKING:
    from deployments.tenants.directory import TenantDirectory

#: The tenant of a machine on which no other is configured.
DEMO_TENANT = "demo"
#: What stands for no keys at all; empty stands for the demo tenant's.
NO_KEYS = "none"
#: Fewest characters of a key that an operator chose.
MIN_KEY_CHARS = 16
#: Fewest characters of the secret that keys are hashed with.
MIN_SECRET_CHARS = 32
#: Seconds for which an answer of the directory is believed: after this long a revoked key is refused everywhere.
BELIEVE_S = 3.0
#: Answers that are kept; more callers than this at once cost a look-up each.
MAX_ANSWERS = 50_000

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARS, _CHECKSUM_CHARS = 43, 6
_OWN_KEY = re.compile(r"uxo_(?P<id>[0-9a-f]{8})_[0-9A-Za-z]{49}", re.ASCII)


class KeyRing:
    """Tells whose key a caller showed."""

    def __init__(
        self,
        configured: Mapping[str, tuple[str, ...]],
        *,
        directory: TenantDirectory,
        secret: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the keys that the settings name, and the directory that knows all others.

        Args:
            configured: keys by tenant; good for as long as this process lives.
            directory: where keys that an operator made are looked up.
            secret: what keys are hashed with; the same in every process.
            clock: seconds that only grow.

        Raises:
            ValueError: when one key belongs to two tenants.
        """
        self._directory = directory
        self._secret = secret
        self._configured: dict[str, str] = {}
        self._answers: TTLCache[str, str | None] = TTLCache(MAX_ANSWERS, BELIEVE_S, timer=clock)
        for tenant, keys in configured.items():
            for key in keys:
                self._add(tenant, key)

    def __repr__(self) -> str:
        """Say how many it knows."""
        return f"<KeyRing [{len(self._configured)} configured keys | {len(self._answers)} answers]>"

    async def tenant_of(self, api_key: str) -> str:
        """Return the name of the tenant that owns a key.

        Raises:
            Unauthenticated: when nobody does; says the same of a wrong key as of text that could be none.
            Unavailable: when the directory cannot be asked.
        """
        found = digest(api_key, secret=self._secret)
        tenant = self._configured.get(found)
        if tenant is None and is_own_key(api_key):
            tenant = await self._look_up(found)
        if tenant is None:
            raise Unauthenticated
        return tenant

    async def _look_up(self, found: str) -> str | None:
        try:
            return self._answers[found]
        except KeyError:  # asked once and not twice, for an answer may grow too old between two looks at it
            tenant = self._answers[found] = await self._directory.tenant_with(found)
            return tenant

    def _add(self, tenant: str, key: str) -> None:
        owner = self._configured.setdefault(digest(key, secret=self._secret), tenant)
        if owner != tenant:
            raise ValueError(f"tenants {owner} and {tenant} have the same key")


def make_key() -> str:
    """Draw a new key with 256 random bits."""
    body = f"uxo_{secrets.token_hex(4)}_{_digits(secrets.randbits(256), _RANDOM_CHARS)}"
    return body + _checksum(body)


def key_id(api_key: str) -> str:
    """Return the part of a key of our own making by which people speak of it."""
    return api_key.split("_")[1]


def is_own_key(text: str) -> bool:
    """Whether a text can be a key of our own making."""
    return _OWN_KEY.fullmatch(text) is not None and _checksum(text[:-_CHECKSUM_CHARS]) == text[-_CHECKSUM_CHARS:]


def digest(api_key: str, *, secret: str) -> str:
    """Return what is kept of a key: of no use to whoever reads the database without the secret."""
    # The time a look-up of it takes says nothing about any key, for nobody outside can steer its first characters.
    return hmac.new(secret.encode(), api_key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _checksum(body: str) -> str:
    return _digits(zlib.crc32(body.encode("ascii")), _CHECKSUM_CHARS)


def _digits(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def server_secret(configured: str, folder: Path) -> str:
    """Return the secret that keys are hashed with: ``UXO_SECRET``, or one made at random and kept in ``folder``.

    Raises:
        SettingsInvalid: naming the setting at fault.
    """
    if not configured:
        return _kept_in(folder, "secret", lambda: secrets.token_hex(32))
    if len(configured) < MIN_SECRET_CHARS:
        raise SettingsInvalid(f"UXO_SECRET cannot be used: it needs at least {MIN_SECRET_CHARS} characters")
    return configured


def configured_keys(bootstrap: str, folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Return every tenant's keys: those of ``UXO_BOOTSTRAP_KEYS``, or without any the demo tenant's.

    Where ``UXO_BOOTSTRAP_KEYS`` is ``none`` there are none, and nothing is written to ``folder``.

    Raises:
        SettingsInvalid: naming the setting at fault, and no key.
    """
    if bootstrap == NO_KEYS:
        return {}
    if not bootstrap:
        return {DEMO_TENANT: (demo_key(folder),)}
    try:
        return parse_bootstrap(bootstrap)
    except ValueError as error:
        raise SettingsInvalid(f"UXO_BOOTSTRAP_KEYS cannot be used: {error}") from error


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
    if not TENANT_ID.fullmatch(tenant):
        raise ValueError(f"entry {position}: a tenant's name is 1 to 64 letters, digits, '.', '_' or '-'")
    if len(key) < MIN_KEY_CHARS:
        raise ValueError(f"entry {position}: a key has at least {MIN_KEY_CHARS} characters")
    return tenant, key


def demo_key(folder: Path) -> str:
    """Return the key of the demo tenant."""
    return _kept_in(folder, "demo.key", lambda: f"demo-{secrets.token_hex(16)}")


def _kept_in(folder: Path, name: str, make: Callable[[], str]) -> str:
    """Return a secret text, made the first time and kept in ``folder`` for its owner's eyes.

    Processes that ask at the same time get the same one.
    """
    path = folder / name
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _keep_first(path, make())
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingsInvalid(f"UXO_FOLDER={str(folder)!r} cannot be used: {error.strerror}") from error


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
