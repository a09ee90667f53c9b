"""Sends a finished picture to the address that its tenant gave: HTTP PUT of the raw bytes, and nothing that is ours.

The address itself is the permission, so its query goes out byte for byte and nobody is told it. Knows no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from deployments.errors import AddressRefused, NotReached, UploadFailed

if TYPE_CHECKING:
    from deployments.outbound.client import GuardedClient
    from deployments.tenants.seal import Seal

#: Seconds before the second and before the third try.
PAUSES_S = (0.5, 2.0)
#: Bytes of an answer that are read; nobody looks at them.
MAX_ANSWER_BYTES = 4096

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
) -> None:
    """Send a picture, and again where that may go better: once more for each pause.

    Args:
        client: decides what may be reached.
        url: as the tenant wrote it.
        content: the bytes of the file.
        content_type: its media type, e.g. ``image/jpeg``.
        tenant_id: whose address it is; more may be open to them than to everybody.
        pauses_s: seconds before the second try and those after it.

    Raises:
        UploadFailed: when no try was answered with 2xx; its message is for the tenant and does not repeat the address.
    """
    client = client.of(tenant_id)
    for pause_s in pauses_s:
        try:
            return await _put(client, url, content=content, content_type=content_type)
        except _MayPass:
            await asyncio.sleep(pause_s)
    return await _put(client, url, content=content, content_type=content_type)


class SealedUpload:
    """Sends pictures to addresses as the database holds them."""

    def __init__(self, client: GuardedClient, seal: Seal) -> None:
        """Take what decides who may be reached, and what opens the addresses."""
        self._client = client
        self._seal = seal

    async def __call__(self, url: str, *, content: bytes, content_type: str, tenant_id: str) -> None:
        """Send a picture to a sealed address, or to one that never was.

        Raises:
            UploadFailed: when the receiver did not take it.
        """
        address = self._seal.open(url)
        await put_picture(self._client, address, content=content, content_type=content_type, tenant_id=tenant_id)


class _MayPass(UploadFailed):
    """The picture could not be sent this time."""


async def _put(client: GuardedClient, url: str, *, content: bytes, content_type: str) -> None:
    status = await _status(client, url, content=content, content_type=content_type)
    if 200 <= status < 300:
        return
    may_pass = status >= 500 or status in _PASSING
    raise (_MayPass if may_pass else UploadFailed)(f"the upload address answered {status}")


async def _status(client: GuardedClient, url: str, *, content: bytes, content_type: str) -> int:
    try:
        answer = await client.send(
            "PUT",
            url,
            headers={"Content-Type": content_type},
            body=content,
            max_redirects=0,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )
    except AddressRefused as error:
        raise UploadFailed(f"the upload address {error.message}") from error
    except NotReached as error:
        if error.status is not None:  # it has answered, and only the rest of the answer is missing
            return error.status
        raise _MayPass(f"the upload address {error.message}") from error
    return answer.status
