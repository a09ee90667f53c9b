"""Sends a finished picture to the address that its tenant gave: HTTP PUT of the raw bytes, and nothing that is ours.

The address itself is the permission, so its query goes out byte for byte and nobody is told it. Knows no task.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from deployments.clock import utc_now
from deployments.errors import AddressRefused, NotReached, Unavailable, UploadFailed

if TYPE_CHECKING:
    from deployments.outbound.client import GuardedClient
    from deployments.tenants.seal import Seal

#: Seconds before the second and before the third try.
PAUSES_S = (0.5, 2.0)
#: Bytes of an answer that are read; nobody looks at them.
MAX_ANSWER_BYTES = 4096

#: Characters of an ETag that are kept.
MAX_ETAG_CHARS = 128

_MD5_ETAG = re.compile(r'"?([0-9a-fA-F]{32})"?', re.ASCII)
_GOOGLE_MD5 = re.compile(r"md5=([A-Za-z0-9+/]{22}==)", re.ASCII)
_ENCRYPTED = ("x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-customer-algorithm")
# Without it Azure takes no blob. Source: Azure's REST reference, "Put Blob", seen 2026-11.
_AZURE_HEADERS = {"x-ms-blob-type": "BlockBlob"}

#: Statuses below 500 with which another try may go better.
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


async def put_picture(
    client: GuardedClient,
    url: str,
    *,
    content: bytes,
    content_type: str,
    tenant_id: str,
    pauses_s: Sequence[float] = PAUSES_S,
) -> Receipt:
    """Send a picture, and again where that may go better: once more for each pause.

    Args:
        client: decides what may be reached.
        url: as the tenant wrote it.
        content: the bytes of the file.
        content_type: its media type, e.g. ``image/jpeg``.
        tenant_id: whose address it is; more may be open to them than to everybody.
        pauses_s: seconds before the second try and those after it.

    Returns:
        What the store answered, as far as it did not name other bytes than were sent.

    Raises:
        UploadFailed: when no try was answered with 2xx; its message is for the tenant and does not repeat the address.
        Unavailable: when we cannot say now what was opened for the tenant.
    """
    client = client.of(tenant_id)
    for pause_s in pauses_s:
        try:
            return await _put(client, url, content=content, content_type=content_type)
        except (_MayPass, Unavailable):
            await asyncio.sleep(pause_s)
    return await _put(client, url, content=content, content_type=content_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a store answered to a picture that it took."""

    #: HTTP status, of 2xx.
    status: int
    #: Its ``ETag`` as it came; empty where there was none.
    etag: str
    #: When it was answered.
    at: datetime


class SealedUpload:
    """Sends pictures to addresses as the database holds them."""

    def __init__(self, client: GuardedClient, seal: Seal) -> None:
        """Take what decides who may be reached, and what opens the addresses."""
        self._client = client
        self._seal = seal

    async def __call__(self, url: str, *, content: bytes, content_type: str, tenant_id: str) -> Receipt:
        """Send a picture to a sealed address, or to one that never was.

        Raises:
            UploadFailed: when the receiver did not take it.
        """
        address = self._seal.open(url)
        return await put_picture(self._client, address, content=content, content_type=content_type, tenant_id=tenant_id)


class _MayPass(UploadFailed):
    """The picture could not be sent this time."""


async def _put(client: GuardedClient, url: str, *, content: bytes, content_type: str) -> Receipt:
    status, headers = await _answer(client, url, content=content, content_type=content_type)
    if not 200 <= status < 300:
        may_pass = status >= 500 or status in _PASSING
        raise (_MayPass if may_pass else UploadFailed)(f"the upload address answered {status}")
    if _names_other_bytes(headers, content):
        raise _MayPass("the upload address answered that it holds other bytes than were sent")
    return Receipt(status=status, etag=headers.get("etag", "")[:MAX_ETAG_CHARS], at=utc_now())


async def _answer(
    client: GuardedClient, url: str, *, content: bytes, content_type: str
) -> tuple[int, Mapping[str, str]]:
    try:
        answer = await client.send(
            "PUT",
            url,
            headers={"Content-Type": content_type, **(_AZURE_HEADERS if _is_azure(url) else {})},
            body=content,
            max_redirects=0,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )
    except AddressRefused as error:
        raise UploadFailed(f"the upload address {error.message}") from error
    except NotReached as error:
        if error.status is not None:  # it has answered, and only the rest of the answer is missing
            return error.status, {}
        raise _MayPass(f"the upload address {error.message}") from error
    return answer.status, answer.headers


def _is_azure(url: str) -> bool:
    """Whether an address is signed the way of Azure, whose store wants to be told what kind of blob comes."""
    # By hand: the library raises for addresses that the guard has yet to refuse.
    query = url.partition("#")[0].partition("?")[2]
    return {"sig", "sv", "sr"} <= {name for name, _ in parse_qsl(query)}


def _names_other_bytes(headers: Mapping[str, str], content: bytes) -> bool:
    """Whether a store names a digest of what it holds, and it is not that of what was sent.

    Google and Azure name the MD5 as such. S3 has it as the ETag, unless the bucket encrypts with keys of its own: then
    the ETag looks alike and means something else. Source: S3 API reference, "Object", member ETag, seen 2026-11.
    """
    digest = hashlib.md5(content, usedforsecurity=False)
    named = {headers.get("content-md5", ""), *_GOOGLE_MD5.findall(headers.get("x-goog-hash", ""))} - {""}
    if named:
        return base64.b64encode(digest.digest()).decode("ascii") not in named
    etag = _MD5_ETAG.fullmatch(headers.get("etag", ""))
    is_plain = "x-amz-request-id" in headers and not any(name in headers for name in _ENCRYPTED)
    return bool(etag and is_plain and etag[1].lower() != digest.hexdigest())
