"""Takes a finished task's pictures out: checked, encoded and hashed, into every sink it asked for, to its tenant.

Bytes first: only when every picture is where it has to be is the task told to have succeeded. What could not be sent to
its tenant stays in our own sinks, from where it can be sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from deployments.delivery.encode import encode
from deployments.delivery.sink import placed_in
from deployments.errors import UploadFailed
from deployments.tasks.task import Claim, Output, Task
from deployments.telemetry.laps import CHECK, DELIVER, ENCODE, lap
from deployments.telemetry.metrics import DELIVERIES, DELIVERY_SECONDS
from models.request import GeneratedImage, GenerationRequest, Safety

if TYPE_CHECKING:
    from deployments.delivery.presigned_put import Receipt
    from deployments.delivery.sink import EncodedImage, Sink
    from deployments.tasks.store import TaskStore

log = structlog.get_logger()


class Upload(Protocol):
    """Sends a picture to where its tenant wants it; ``delivery.presigned_put`` does."""

    async def __call__(self, url: str, *, content: bytes, content_type: str, tenant_id: str) -> Receipt:
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
) -> Receipt:
    """Refuse to send anything anywhere."""
    raise UploadFailed


class Check(Protocol):
    """Says of pictures whether they should not be shown; ``checking.Checker`` does."""

    async def __call__(self, image: GeneratedImage, safety: Safety) -> GeneratedImage:
        """Return the picture with the verdict, and black where it has to be."""
        ...


async def no_check(image: GeneratedImage, safety: Safety) -> GeneratedImage:  # noqa: ARG001 -- the protocol's argument
    """Return the picture without a verdict."""
    return image


class WaysOut(Protocol):
    """What pictures leave through; the doors of a replica are."""

    @property
    def sinks(self) -> Mapping[str, Sink]:
        """Return every sink, by kind."""
        ...

    @property
    def upload(self) -> Upload:
        """Return what sends to a tenant's own address."""
        ...

    @property
    def check(self) -> Check:
        """Return what says whether a picture should not be shown."""
        ...

    @property
    def discloses(self) -> bool:
        """Whether the files say that a model has drawn them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What has become of the pictures of a task."""

    #: All sinks of the first picture, then all sinks of the next; what was sent on has its receipt.
    outputs: tuple[Output, ...]
    #: Why they could not all be sent to their tenant's own address.
    failure: UploadFailed | None = None


async def deliver(
    claim: Claim,
    images: Sequence[GeneratedImage],
    *,
    ways: WaysOut,
    placed: list[Output],
) -> Delivered:
    """Place the pictures of a task, and send them on; cancel it where they are no longer wanted.

    An upload address that fails keeps no picture out of our own sinks; it is not asked again for those that follow.

    Args:
        claim: the task.
        images: its pictures.
        ways: what they leave through.
        placed: filled with what our sinks have by now, for whoever has to take it back.

    Raises:
        OSError: when a sink could not take one.
        NotStored: when it could not for a long time.
    """
    task = claim.task
    outputs: list[Output] = []
    failure: UploadFailed | None = None
    for index, drawn in enumerate(images):
        image = await _checked(drawn, claim.request.safety, check=ways.check)
        with lap(ENCODE):
            encoded, output = await asyncio.to_thread(_encoded, image, claim.request, discloses=ways.discloses)
        if image.is_unsafe:
            log.warning("picture_flagged", task_id=task.id, picture=index, tenant_id=task.tenant_id)
        name = f"{task.id}-{task.attempt}-{index}"
        mine: list[Output] = []
        for kind in (placed_in(wanted, ways.sinks) for wanted in task.sinks):
            with _counted(kind):
                value = await ways.sinks[kind].put(name, encoded, tenant_id=task.tenant_id, lifetime_s=task.lifetime_s)
            mine.append(output(sink=kind, value=value))
            placed.append(mine[-1])
        if task.upload_url is not None and failure is None:
            try:
                mine = await sent(
                    mine, encoded.content, url=task.upload_url, tenant_id=task.tenant_id, upload=ways.upload
                )
            except UploadFailed as error:
                failure = error
        outputs += mine
    return Delivered(outputs=tuple(outputs), failure=failure)


async def sent(placed: Sequence[Output], content: bytes, *, url: str, tenant_id: str, upload: Upload) -> list[Output]:
    """Send one picture to where its tenant wants it, and return its outputs with the receipt.

    Raises:
        UploadFailed: when it was not taken.
    """
    with _counted("upload"):
        receipt = await upload(url, content=content, content_type=placed[0].content_type, tenant_id=tenant_id)
    at_s = receipt.at.timestamp()
    return [replace(output, sent_status=receipt.status, sent_etag=receipt.etag, sent_at_s=at_s) for output in placed]


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


async def _checked(image: GeneratedImage, safety: Safety, *, check: Check) -> GeneratedImage:
    if check is no_check:
        return image
    with lap(CHECK):
        return await check(image, safety)


@contextmanager
def _counted(sink: str) -> Iterator[None]:
    """Count and time what brings one picture somewhere; what is given up meanwhile is nobody's failure."""
    started_s = time.monotonic()
    try:
        with lap(DELIVER):
            yield
    except Exception:
        DELIVERIES.add(sink=sink, outcome="failed")
        raise
    DELIVERIES.add(sink=sink, outcome="placed")
    DELIVERY_SECONDS.observe(time.monotonic() - started_s, sink=sink)


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
        is_unsafe=image.is_unsafe,
    )
    return encoded, output
