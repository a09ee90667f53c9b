"""What every registered sink owes its callers: the same bytes come back, and nothing is ever overwritten."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from deployments.delivery.files import FilesSink
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


def open_files(kind: str, folder: Path) -> Opened:
    """Open the sink that keeps files."""
    sink: FilesSink = loaded(kind)(folder, ttl_s=60)

    async def follow(link: str) -> bytes:
        stored = await sink.open_link(link.removeprefix(f"{BASE_URL}/files/"))
        return await asyncio.to_thread(stored.path.read_bytes)

    return Opened(sink=sink, follow=follow)


def open_inline(kind: str, _folder: Path) -> Opened:
    """Open the sink that keeps pictures in the task."""

    async def follow(link: str) -> bytes:
        return base64.b64decode(link, validate=True)

    return Opened(sink=loaded(kind)(), follow=follow)


OPENERS = {"files": open_files, "inline": open_inline}


@pytest.fixture(params=SINKS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Return each registered sink in turn, empty."""
    return OPENERS[request.param](request.param, tmp_path / "outputs")


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
    """The value is text that says it all: it can be stored and asked for again, by whatever address we are reached."""
    value = await opened.sink.put("task-1-0", JPEG)

    links = {opened.sink.link(value, base_url=BASE_URL) for _ in range(2)}

    assert len(links) == 1
    assert value.isascii()


def contents_of(folder: Path) -> list[bytes]:
    """Return the bytes of every file below a folder."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def test_what_is_removed_is_gone(opened: Opened, tmp_path: Path) -> None:
    """Nothing of it is left where the sink keeps things, what is beside it stays, and a second time is no matter."""
    stays = await opened.sink.put("task-1-0", JPEG)
    value = await opened.sink.put("task-1-0", PNG)

    await opened.sink.remove(value)
    await opened.sink.remove(value)

    assert PNG.content not in contents_of(tmp_path)
    assert await opened.follow(opened.sink.link(stays, base_url=BASE_URL)) == JPEG.content


@pytest.mark.parametrize("value", ["", "../secret.txt", "/etc/passwd", "x\0", "a" * 10_000])
async def test_nothing_else_can_be_removed(opened: Opened, tmp_path: Path, value: str) -> None:
    """What is no value of the sink leads to nothing that could be deleted."""
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    await opened.sink.put("task-1-0", JPEG)

    await opened.sink.remove(value)

    assert secret.read_text() == "mine"
