"""Reads from an address that is its own permission until when it holds: S3's, Google's and Azure's ways of signing.

    X-Amz-Date, X-Amz-Expires       S3, fourth version        Expires, Signature    S3 second version, Google's second
    X-Goog-Date, X-Goog-Expires     Google, fourth version    se, sig               Azure's shared access signatures

What it cannot read it does not judge: the store behind the address will. Source: each vendor's page about signed URLs,
seen 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from deployments.errors import UploadAddressRefused

_DIGITS = re.compile(r"[0-9]{1,11}", re.ASCII)
_SHOWN_FORM = "%Y-%m-%dT%H:%M:%SZ"
_BASIC_FORM = "%Y%m%dT%H%M%SZ"
#: The forms in which Azure takes a moment.
_AZURE_FORMS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d")


#: How long an address has to hold from the moment it is given: time to draw a picture, and to send it.
MIN_LEFT_S = 60.0


def check_upload(url: str, *, now: datetime) -> None:
    """Return if an address may still hold when there is something to send there.

    Raises:
        UploadAddressRefused: when it holds no longer, or for less than ``MIN_LEFT_S``.
    """
    ends_at = expires_at(url)
    if ends_at is None:
        return
    left_s = (ends_at - now).total_seconds()
    if left_s <= 0:
        raise UploadAddressRefused(f"the upload address expired at {ends_at:{_SHOWN_FORM}}")
    if left_s < MIN_LEFT_S:
        raise UploadAddressRefused(
            f"the upload address expires in {left_s:.0f} s, and has to hold for {MIN_LEFT_S:.0f}"
        )


def expires_at(url: str) -> datetime | None:
    """Return until when a signed address holds; None where it does not say so in a way that is known."""
    query = {name.lower(): value for name, value in _query(url)}
    for vendor in ("amz", "goog"):
        if f"x-{vendor}-signature" in query:
            return _since(query, vendor)
    if "signature" in query and "expires" in query:
        return _moment(query["expires"])
    return _azure(query) if "sig" in query else None


def _since(query: Mapping[str, str], vendor: str) -> datetime | None:
    length = query.get(f"x-{vendor}-expires", "")
    signed_at = _read(query.get(f"x-{vendor}-date", ""), _BASIC_FORM)
    if signed_at is None or not _DIGITS.fullmatch(length):
        return None
    try:
        return signed_at + timedelta(seconds=int(length))
    except OverflowError:
        return None


def _moment(seconds: str) -> datetime | None:
    if not _DIGITS.fullmatch(seconds):
        return None
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _azure(query: Mapping[str, str]) -> datetime | None:
    read = (_read(query.get("se", ""), form) for form in _AZURE_FORMS)
    return next((moment for moment in read if moment is not None), None)


def _read(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None


def _query(url: str) -> list[tuple[str, str]]:
    # By hand: the library raises for addresses that no guard lets through anyway, and this is not where to say so.
    return parse_qsl(url.partition("#")[0].partition("?")[2])
