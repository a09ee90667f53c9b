"""Fetches a reference picture from where a tenant says it is, and from nowhere a tenant should not reach.

Who may be called is for ``client``, what the bytes mean for ``decoding``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re

from deployments.errors import AddressRefused, NotReached
from deployments.outbound.client import Answer, GuardedClient, is_packed
from deployments.outbound.refused import ReferenceRefused

#: Most bytes of one reference.
MAX_BYTES = 20 * 1024 * 1024
#: Redirects followed before giving up.
MAX_REDIRECTS = 3

_OK = 200
_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]{1,64};base64,", re.ASCII | re.IGNORECASE)
_TOO_LARGE = f"is larger than {MAX_BYTES // 1024**2} MiB"
# One sentence for every way a connection can fail: telling "refused" from "timed out" would let a tenant map networks.
_FAILED = "could not be fetched"


class ReferenceFetcher:
    """Fetches references for every tenant; keeps nothing between two fetches."""

    def __init__(self, client: GuardedClient) -> None:
        """Take the client that decides what may be reached."""
        self._client = client

    async def fetch(self, source: str, *, tenant_id: str) -> bytes:
        """Return the bytes of a reference.

        Args:
            source: an http(s) URL or a data URI.
            tenant_id: who asks; more may be open to them than to everybody.

        Raises:
            ReferenceRefused: when it may not or cannot be fetched, or is too large; its message is for the tenant.
            Unavailable: when we cannot say now whether it may.
        """
        if source[:5].lower() == "data:":
            return await asyncio.to_thread(read_data_uri, source)
        try:
            answer = await self._get(source, tenant_id)
        except AddressRefused as error:
            raise ReferenceRefused(error.message) from error
        except NotReached as error:
            raise ReferenceRefused(_FAILED) from error
        return _content_of(answer)

    async def _get(self, url: str, tenant_id: str) -> Answer:
        return await self._client.of(tenant_id).send(
            "GET",
            url,
            headers={"Accept": "image/png, image/jpeg, image/webp"},
            body=b"",
            max_redirects=MAX_REDIRECTS,
            max_answer_bytes=MAX_BYTES,
        )


def _content_of(answer: Answer) -> bytes:
    if answer.status != _OK:
        raise ReferenceRefused(f"answered {answer.status}")
    if is_packed(answer.headers):
        raise ReferenceRefused("came compressed")
    if not answer.is_whole:
        raise ReferenceRefused(_TOO_LARGE)
    return answer.content


def read_data_uri(source: str) -> bytes:
    """Return the content of a base64 data URI of an image type.

    Raises:
        ReferenceRefused: when it is another kind of data URI, no strict base64, or larger than 20 MiB.
    """
    head = _DATA_URI.match(source)
    if head is None:
        raise ReferenceRefused("is not a base64 data URI of an image")
    if len(source) - head.end() > (MAX_BYTES + 2) // 3 * 4:
        raise ReferenceRefused(_TOO_LARGE)
    try:
        return base64.b64decode(source[head.end() :], validate=True)
    except (ValueError, binascii.Error) as error:
        raise ReferenceRefused("is not valid base64") from error
