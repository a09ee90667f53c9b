"""What every registered sink owes its callers: the same bytes come back, and nothing is ever overwritten."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from s3_server import S3Server

from deployments.delivery.bucket import Place
from deployments.delivery.files import FilesSink, LinkUnknown
from deployments.delivery.inline import InlineSink
from deployments.delivery.sink import SINKS, EncodedImage, Sink

BASE_URL = "https://pictures.example"
JPEG = EncodedImage(content=b"\xff\xd8\xff jpeg", content_type="image/jpeg", extension="jpg")
PNG = EncodedImage(content=b"\x89PNG png", content_type="image/png", extension="png")
WEBP = EncodedImage(content=b"RIFF webp" * 100_000, content_type="image/webp", extension="webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A sink and how its links are followed."""

    #: The sink.
    sink: Sink
    #: Returns the bytes behind a link.
    follow: Callable[[str], Awaitable[bytes]]


def loaded(kind: str) -> Any:
    """Import a sink's class from where it is registered."""
    module, _, name = SINKS[kind].partition(":")
    return getattr(import_module(module), name)


def open_bucket(kind: str, request: pytest.FixtureRequest) -> Opened:
    """Open the sink that keeps objects, over a real S3 server."""
    server: S3Server = request.getfixturevalue("s3")
    sink = loaded(kind)(server.client(), Place(bucket=server.create_bucket(), prefix="pictures/"), ttl_s=60)

    async def follow(link: str) -> bytes:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(link)).raise_for_status().content

    return Opened(sink=sink, follow=follow)


def open_files(kind: str, request: pytest.FixtureRequest) -> Opened:
    """Open the sink that keeps files."""
    folder: Path = request.getfixturevalue("tmp_path")
    sink: FilesSink = loaded(kind)(folder / "outputs", ttl_s=60)

    async def follow(link: str) -> bytes:
        stored = await sink.open_link(link.removeprefix(f"{BASE_URL}/files/"))
        return await asyncio.to_thread(stored.path.read_bytes)

    return Opened(sink=sink, follow=follow)


def open_inline(kind: str, _request: pytest.FixtureRequest) -> Opened:
    """Open the sink that keeps pictures in the task."""

    async def follow(link: str) -> bytes:
        return base64.b64decode(link, validate=True)

    return Opened(sink=loaded(kind)(), follow=follow)


OPENERS = {"bucket": open_bucket, "files": open_files, "inline": open_inline}


@pytest.fixture(params=SINKS)
def opened(request: pytest.FixtureRequest) -> Opened:
    """Return each registered sink in turn, empty."""
    return OPENERS[request.param](request.param, request)


@pytest.mark.parametrize("image", [JPEG, PNG, WEBP])
async def test_same_bytes_come_back(opened: Opened, image: EncodedImage) -> None:
    """The link of a picture that was put leads to exactly its bytes."""
    value = await opened.sink.put("task-1-0", image)

    content = await opened.follow(opened.sink.link(value, base_url=BASE_URL))

    assert content == image.content


async def test_two_puts_under_one_name_both_stay(opened: Opened) -> None:
    """A second picture of the same name does not replace the first: a late attempt cannot harm a finished one."""
    first = await opened.sink.put("task-1-0", JPEG)
    second = await opened.sink.put("task-1-0", PNG)

    contents = [await opened.follow(opened.sink.link(value, base_url=BASE_URL)) for value in (first, second)]

    assert contents == [JPEG.content, PNG.content]


async def test_many_puts_at_once(opened: Opened) -> None:
    """Pictures that are put at the same time do not mix."""
    images = [EncodedImage(content=bytes([n]) * 1000, content_type="image/png", extension="png") for n in range(20)]

    values = await asyncio.gather(*(opened.sink.put("task-1-0", image) for image in images))

    contents = [await opened.follow(opened.sink.link(value, base_url=BASE_URL)) for value in values]
    assert contents == [image.content for image in images]


async def test_link_needs_no_memory(opened: Opened) -> None:
    """The value is text that says it all: it can be stored, and links be made of it again and again."""
    value = await opened.sink.put("task-1-0", JPEG)

    links = [opened.sink.link(value, base_url=BASE_URL) for _ in range(2)]

    assert [await opened.follow(link) for link in links] == [JPEG.content, JPEG.content]
    assert len({link.partition("?")[0] for link in links}) == 1  # what follows is a signature, which tells the time
    assert value.isascii()


async def test_a_picture_is_read_as_it_was_put(opened: Opened) -> None:
    """Whoever has the value can have the bytes without a link."""
    value = await opened.sink.put("task-1-0", WEBP, tenant_id="alice")

    content = await opened.sink.read(value)

    assert content == WEBP.content


@pytest.mark.parametrize("tenant_id", ["alice", "..", "a.b-c_d"])
async def test_a_link_leads_back_to_its_value(opened: Opened, tenant_id: str) -> None:
    """A sink knows its own links when their tenant sends them; inline content is no link."""
    value = await opened.sink.put("task-1-0", JPEG, tenant_id=tenant_id)
    link = opened.sink.link(value, base_url=BASE_URL)

    found = opened.sink.value_of(link, base_url=BASE_URL, tenant_id=tenant_id)

    assert found == (None if isinstance(opened.sink, InlineSink) else value)


async def test_other_links_lead_nowhere(opened: Opened) -> None:
    """What is not the sink's own is left to others."""
    links = ["", "https://elsewhere.example/a.jpg", "data:image/png;base64,eA==", "https://[broken"]

    found = [opened.sink.value_of(link, base_url=BASE_URL, tenant_id="alice") for link in links]

    assert found == [None] * len(links)


async def test_what_is_removed_is_gone(opened: Opened) -> None:
    """A removed picture cannot be read, another one can, and removing again is no error; inline lives in its task."""
    gone, kept = await opened.sink.put("task-1-0", JPEG), await opened.sink.put("task-1-1", PNG)

    await opened.sink.remove(gone)
    await opened.sink.remove(gone)

    assert await opened.sink.read(kept) == PNG.content
    if not isinstance(opened.sink, InlineSink):
        with pytest.raises(LinkUnknown):
            await opened.sink.read(gone)


async def test_a_name_that_cannot_be_linked_is_refused(opened: Opened) -> None:
    """Nothing is placed under a name that would lead elsewhere."""
    if isinstance(opened.sink, InlineSink):
        pytest.skip("inline content has no name")

    with pytest.raises(ValueError, match="cannot be part of a link"):
        await opened.sink.put("../../task", JPEG)


@pytest.mark.parametrize("value", ["", "../secret.txt", "/etc/passwd", "x\0", "a" * 10_000])
async def test_nothing_else_can_be_removed(opened: Opened, tmp_path: Path, value: str) -> None:
    """What is no value of the sink leads to nothing that could be deleted."""
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    await opened.sink.put("task-1-0", JPEG)

    await opened.sink.remove(value)

    assert secret.read_text() == "mine"
