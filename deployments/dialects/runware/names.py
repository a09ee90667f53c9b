"""How tasks and pictures are named by UUIDs, and in which shapes a picture may be given. Knows no fields.

A UUID that we make follows from what it names, so a picture is called the same while it is made, in every later
answer, and in the webhook.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from uuid import UUID

from deployments.picture_files import recognised

#: A UUID v4, in either case.
UUID_V4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)

_ANY_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_ADDRESS = re.compile(r"(?:https?://|data:)", re.ASCII | re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}", re.ASCII)


def task_key(task_uuid: str) -> str:
    """Return the key under which a task is found again; the case of its UUID does not count."""
    return f"runware:{task_uuid.lower()}"


def picture_uuid(task_id: str, index: int) -> str:
    """Name a picture of a task, counted from 0."""
    return derived_uuid(task_id, str(index))


def derived_uuid(*parts: str) -> str:
    """Return a UUID of the shape of version 4 that follows from texts and tells nothing about them."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return str(UUID(bytes=digest[:16], version=4))


def reference_source(given: str) -> str | None:
    """Return where a reference is: a UUID, an http(s) or data address, or bare base64; None if it is none of them."""
    return f"upload:{given.lower()}" if _ANY_UUID.fullmatch(given) else upload_source(given)


def upload_source(given: str) -> str | None:
    """Return where a picture to be kept is: an http(s) or data address, or bare base64; None if it is none of them."""
    if _ADDRESS.match(given):
        return given
    if not _BASE64.fullmatch(given):
        return None
    kind = recognised(b64decode(given[:16]))  # the twelve bytes that tell it
    return None if kind is None else f"data:{kind.media_type};base64,{given}"
