"""Takes a finished task's pictures out: encoded and hashed in a thread, into every sink it asked for, to its tenant.

Bytes first: only when every picture is where it has to be is the task told to have succeeded.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from deployments.delivery.encode import encode
from deployments.delivery.sink import placed_in
from deployments.errors import UploadFailed
from deployments.tasks.task import Claim, Output, Task
from models.request import GeneratedImage, GenerationRequest

if TYPE_CHECKING:
    from deployments.delivery.sink import EncodedImage, Sink
    from deployments.tasks.store import TaskStore


class Upload(Protocol):
    """Sends a picture to where its tenant wants it; ``delivery.presigned_put`` does."""

    async def __call__(self, url: str, *, content: bytes, content_type: str, tenant_id: str) -> None:
        """PUT the raw bytes, for one tenant.

        Raises:
            UploadFailed: when the receiver did not take them.
        """
        ...


async def no_upload(
    url: str,  # noqa: ARG001 -- the protocol's arguments
    *,
    content: bytes,  # noqa: ARG001 -- as above
    content_type: str,  # noqa: ARG001 -- as above
    tenant_id: str,  # noqa: ARG001 -- as above
) -> None:
    """Refuse to send anything anywhere."""
    raise UploadFailed


async def deliver(
    claim: Claim,
    images: Sequence[GeneratedImage],
    *,
    sinks: Mapping[str, Sink],
    upload: Upload,
    discloses: bool = False,
) -> tuple[Output, ...]:
    """Place the pictures of a task; cancel it where they are no longer wanted.

    Args:
        claim: the task.
        images: its pictures.
        sinks: every sink, by kind.
        upload: sends to its tenant's own address.
        discloses: whether the files say that a model has drawn them.

    Returns:
        All sinks of the first picture, then all sinks of the next.

    Raises:
        OSError: when a sink could not take one.
        NotStored: when it could not for a long time.
        UploadFailed: when its tenant's own address did not.
    """
    request = claim.request
    outputs: list[Output] = []
    for index, image in enumerate(images):
        encoded, output = await asyncio.to_thread(_encoded, image, request, discloses=discloses)
        name = f"{claim.task.id}-{claim.task.attempt}-{index}"
        for kind in (placed_in(wanted, sinks) for wanted in claim.task.sinks):
            value = await sinks[kind].put(
                name, encoded, tenant_id=claim.task.tenant_id, lifetime_s=claim.task.lifetime_s
            )
            outputs.append(output(sink=kind, value=value))
        if claim.task.upload_url is not None:
            await upload(
                claim.task.upload_url,
                content=encoded.content,
                content_type=encoded.content_type,
                tenant_id=claim.task.tenant_id,
            )
    return tuple(outputs)


async def take_back(task: Task, outputs: Sequence[Output], *, store: TaskStore, sinks: Mapping[str, Sink]) -> None:
    """Remove the pictures of a task that nobody will see: it was cancelled, deleted, or is another replica's now.

    Looked up, and not concluded: the end may have been written although its writer heard that it was not.

    Raises:
        OSError: when a sink could not remove one.
        Unavailable: when it cannot be looked up.
    """
    found = await store.read(task.id, tenant_id=task.tenant_id)
    shown = set() if found is None else {output.value for output in found.outputs}
    for output in outputs:
        if output.value not in shown:
            await sinks[output.sink].remove(output.value)


def _encoded(
    image: GeneratedImage, request: GenerationRequest, *, discloses: bool
) -> tuple[EncodedImage, Callable[..., Output]]:
    """Encode and hash a picture; of its output only the sink and what that calls it are missing."""
    encoded = encode(image, request.output_format, request.output_quality, discloses=discloses)
    output = partial(
        Output,
        content_type=encoded.content_type,
        size_bytes=len(encoded.content),
        sha256=hashlib.sha256(encoded.content).hexdigest(),
        seed=image.seed,
        width=image.image.width,
        height=image.image.height,
    )
    return encoded, output
