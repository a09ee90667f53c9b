"""The names of kept pictures, alike in every sink: they cannot be guessed, and they say when they expire.

{name}-{expiry}-{128 random bits}.{extension}        expiry in seconds since 1970, UTC
"""

from __future__ import annotations

import re
import secrets

#: A name, from which what people call it, ``expiry`` and ``extension`` can be read.
NAME = re.compile(
    r"(?P<name>[A-Za-z0-9-]{1,128})-(?P<expiry>[0-9]{1,12})-[0-9a-f]{32}\.(?P<extension>jpg|png|webp|img)"
)


def new_name(name: str, extension: str, *, expiry_s: float) -> str:
    """Make the name of a picture that is not there yet.

    Args:
        name: what tells it apart for people; letters, digits and ``-``.
        extension: ``jpg``, ``png``, ``webp`` or ``img``.
        expiry_s: when its time is over, in seconds since 1970.

    Raises:
        ValueError: when nobody could open it again.
    """
    made = f"{name}-{int(expiry_s)}-{secrets.token_hex(16)}.{extension}"
    if not NAME.fullmatch(made):
        raise ValueError(f"{name!r} cannot be part of a link")
    return made


def expiry_of(name: str) -> int | None:
    """Return when the time of a picture is over, in seconds since 1970; None where this is no name of one."""
    parts = NAME.fullmatch(name)
    return None if parts is None else int(parts["expiry"])
