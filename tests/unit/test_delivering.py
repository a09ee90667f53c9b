"""Finished pictures on their way out: into every sink, in order, and to their tenant."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from PIL import Image

from deployments.delivering import Check, Upload, deliver, no_check, no_upload
from deployments.delivery.inline import InlineSink
from deployments.delivery.presigned_put import Receipt
from deployments.delivery.sink import EncodedImage, Sink
from deployments.errors import UploadFailed
from deployments.tasks.task import Claim, Task
from deployments.telemetry.instruments import value_of
from deployments.telemetry.laps import CHECK, DELIVER, ENCODE, Laps, noting
from deployments.telemetry.metrics import DELIVERIES, DELIVERY_SECONDS
from models.request import GeneratedImage, GenerationRequest, ImageFormat, Safety

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]


class Shelf(InlineSink):
    """A sink that remembers what was put, and for how long."""

    def __init__(self) -> None:
        self.held: list[tuple[str, EncodedImage, float | None]] = []
        self.tenant_ids: set[str] = set()

    async def put(self, name: str, image: EncodedImage, *, tenant_id: str = "", lifetime_s: float | None = None) -> str:
        """Remember a picture."""
        self.held.append((name, image, lifetime_s))
        self.tenant_ids.add(tenant_id)
        return name

    async def remove(self, value: str) -> None:
        """Never called, for nothing is ever taken back."""

    def link(self, value: str, *, base_url: str) -> str:
        """Return where it would be."""
        return f"{base_url}/{value}"


class Mailbox:
    """An address that takes pictures."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes, str, str]] = []

    async def __call__(self, url: str, *, content: bytes, content_type: str, tenant_id: str) -> Receipt:
        """Take one."""
        self.taken.append((url, content, content_type, tenant_id))
        return Receipt(status=201, etag='"e"', at=NOON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What pictures leave through."""

    #: By kind.
    sinks: Mapping[str, Sink]
    #: To their tenant.
    upload: Upload = no_upload
    #: Past whom.
    check: Check = no_check
    #: Whether the files say what drew them.
    discloses: bool = False


def drawn(*seeds: int) -> list[GeneratedImage]:
    """Draw pictures of 40 by 24 pixels."""
    return [GeneratedImage(seed=seed, image=Image.new("RGB", (40, 24), (seed, 0, 0))) for seed in seeds]


async def test_every_sink_takes_every_picture(make_task: MakeTask, make_request: MakeRequest) -> None:
    """All sinks of the first picture come before those of the next, and outputs say what is where."""
    shelf = Shelf()
    claim = Claim(task=make_task(sinks=("shelf", "inline"), lifetime_s=90), request=make_request())

    ways = Ways(sinks={"shelf": shelf, "inline": InlineSink()})
    delivered = await deliver(claim, drawn(7, 8), ways=ways, placed=[])

    assert [(output.sink, output.seed) for output in delivered.outputs] == [
        ("shelf", 7),
        ("inline", 7),
        ("shelf", 8),
        ("inline", 8),
    ]
    assert {(output.width, output.height) for output in delivered.outputs} == {(40, 24)}
    assert [lifetime_s for _, _, lifetime_s in shelf.held] == [90, 90]
    assert len({name for name, _, _ in shelf.held}) == 2
    assert shelf.tenant_ids == {"alice"}


async def nothing_found(image: GeneratedImage, _safety: Safety) -> GeneratedImage:
    """Find nothing wrong with a picture."""
    return replace(image, is_unsafe=False)


@pytest.mark.parametrize(
    ("check", "done"), [(no_check, [ENCODE, DELIVER]), (nothing_found, [CHECK, ENCODE, DELIVER])], ids=["no", "yes"]
)
async def test_looking_at_a_picture_is_timed_apart(
    make_task: MakeTask, make_request: MakeRequest, check: Check, done: list[str]
) -> None:
    """Whoever waits for the check is told so, and not that files are slow; where nobody looks, nothing is told."""
    claim = Claim(task=make_task(sinks=("shelf",)), request=make_request())
    laps = Laps()

    with noting(laps):
        await deliver(claim, drawn(7), ways=Ways(sinks={"shelf": Shelf()}, check=check), placed=[])

    assert list(laps.by_name) == done
    stretches = [laps.by_name[name] for name in done]
    assert all(one.ended_s <= other.began_s for one, other in pairwise(stretches))


async def test_a_bucket_takes_the_place_of_the_folder(make_task: MakeTask, make_request: MakeRequest) -> None:
    """Where there is a bucket, what was to go to files goes there, and the outputs say so; nothing else moves."""
    folder, bucket = Shelf(), Shelf()
    claim = Claim(task=make_task(sinks=("files", "inline")), request=make_request())

    ways = Ways(sinks={"files": folder, "bucket": bucket, "inline": InlineSink()})
    delivered = await deliver(claim, drawn(7), ways=ways, placed=[])

    assert [output.sink for output in delivered.outputs] == ["bucket", "inline"]
    assert (len(folder.held), len(bucket.held)) == (0, 1)


async def test_a_picture_is_sent_to_its_tenant_as_it_was_kept(make_task: MakeTask, make_request: MakeRequest) -> None:
    """The very bytes of the sink go to the upload address, with their type and whose they are, in order."""
    shelf, mailbox = Shelf(), Mailbox()
    claim = Claim(task=make_task(sinks=("shelf",), upload_url="http://a/b?c=%2F"), request=make_request())

    delivered = await deliver(claim, drawn(7, 8), ways=Ways(sinks={"shelf": shelf}, upload=mailbox), placed=[])

    assert mailbox.taken == [
        ("http://a/b?c=%2F", image.content, "image/jpeg", claim.task.tenant_id) for _, image, _ in shelf.held
    ]
    receipts = [(each.sent_status, each.sent_etag, each.sent_at_s) for each in delivered.outputs]
    assert receipts == [(201, '"e"', NOON.timestamp())] * 2


async def test_what_an_address_does_not_take_is_kept(make_task: MakeTask, make_request: MakeRequest) -> None:
    """The failure is told beside the pictures, all of which are in our sink, without receipts."""
    shelf = Shelf()
    claim = Claim(task=make_task(sinks=("shelf",), upload_url="http://a/b"), request=make_request())

    delivered = await deliver(claim, drawn(7, 8), ways=Ways(sinks={"shelf": shelf}), placed=[])

    assert isinstance(delivered.failure, UploadFailed)
    assert [(output.seed, output.sent_status) for output in delivered.outputs] == [(7, 0), (8, 0)]
    assert len(shelf.held) == 2


async def test_every_delivery_is_counted_by_its_sink(make_task: MakeTask, make_request: MakeRequest) -> None:
    """Each picture counts where it was placed, and the address that takes none fails once: it is not asked again."""
    claim = Claim(task=make_task(sinks=("shelf",), upload_url="http://a/b"), request=make_request())
    counts = (("shelf", "placed"), ("upload", "placed"), ("upload", "failed"))
    before = [value_of(DELIVERIES, sink=sink, outcome=outcome) for sink, outcome in counts]
    timed = value_of(DELIVERY_SECONDS, "_count", sink="shelf")

    await deliver(claim, drawn(7, 8), ways=Ways(sinks={"shelf": Shelf()}), placed=[])

    after = [value_of(DELIVERIES, sink=sink, outcome=outcome) for sink, outcome in counts]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 0, 1]
    assert value_of(DELIVERY_SECONDS, "_count", sink="shelf") == timed + 2


async def test_quality_is_the_requests(make_task: MakeTask, make_request: MakeRequest) -> None:
    """A lower quality makes a smaller file of the same picture."""
    noise = Image.effect_noise((128, 128), 90).convert("RGB")
    sizes = []
    for quality in (30, 95):
        shelf = Shelf()
        request = make_request(output_quality=quality, output_format=ImageFormat.WEBP)
        claim = Claim(task=make_task(sinks=("shelf",)), request=request)
        await deliver(claim, [GeneratedImage(seed=1, image=noise)], ways=Ways(sinks={"shelf": shelf}), placed=[])
        sizes.append(len(shelf.held[0][1].content))
        assert Image.open(io.BytesIO(shelf.held[0][1].content)).format == "WEBP"

    assert sizes[0] < 0.7 * sizes[1]


@pytest.mark.parametrize("discloses", [False, True])
async def test_files_disclose_what_drew_them_if_that_is_asked(
    make_task: MakeTask, make_request: MakeRequest, *, discloses: bool
) -> None:
    """The mark is in the very bytes that are placed, or nowhere."""
    shelf = Shelf()
    claim = Claim(task=make_task(sinks=("shelf",)), request=make_request())

    delivered = await deliver(claim, drawn(7), ways=Ways(sinks={"shelf": shelf}, discloses=discloses), placed=[])

    [(_, image, _)] = shelf.held
    assert (b"trainedAlgorithmicMedia" in image.content) == discloses
    assert delivered.outputs[0].sha256 == hashlib.sha256(image.content).hexdigest()


async def test_a_flagged_picture_leaves_as_it_was_checked(make_task: MakeTask, make_request: MakeRequest) -> None:
    """Every picture is checked as its task wants it, before any sink or address has it; the verdict stays with it."""
    shelf, mailbox, asked = Shelf(), Mailbox(), []

    async def blacken_the_first(image: GeneratedImage, safety: Safety) -> GeneratedImage:
        asked.append((image.seed, safety))
        return replace(image, image=Image.new("RGB", image.image.size), is_unsafe=image.seed == 7)

    claim = Claim(task=make_task(sinks=("shelf",), upload_url="http://a/b"), request=make_request(safety=Safety.COVER))
    ways = Ways(sinks={"shelf": shelf}, upload=mailbox, check=blacken_the_first)

    delivered = await deliver(claim, drawn(7, 8), ways=ways, placed=[])

    assert asked == [(7, Safety.COVER), (8, Safety.COVER)]
    assert [output.is_unsafe for output in delivered.outputs] == [True, False]
    contents = [image.content for _, image, _ in shelf.held]
    assert [Image.open(io.BytesIO(content)).getpixel((5, 5)) for content in contents] == [(0, 0, 0)] * 2
    assert [content for _, content, *_ in mailbox.taken] == contents
