"""The folder of finished pictures: whole files, links that end, and names that lead nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.delivery.files import FilesSink, LinkExpired, LinkUnknown
from deployments.delivery.sink import EncodedImage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
JPEG = EncodedImage(content=b"jpeg", content_type="image/jpeg", extension="jpg")


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """Return the time it shows."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that shows noon."""
    return Clock()


@pytest.fixture
def sink(tmp_path: Path, clock: Clock) -> FilesSink:
    """Return a sink whose files live for a minute."""
    return FilesSink(tmp_path / "outputs", ttl_s=60, clock=clock)


async def test_name_says_expiry_and_cannot_be_guessed(sink: FilesSink) -> None:
    """A file's name holds what was given, when it ends and 128 random bits."""
    value = await sink.put("task-1-0", JPEG)

    name, expiry, secret = value.removesuffix(".jpg").rsplit("-", 2)
    assert (name, int(expiry), len(secret)) == ("task-1-0", int(NOON.timestamp()) + 60, 32)


async def test_link_is_absolute(sink: FilesSink) -> None:
    """A link is the address at which the ingress hands the file out."""
    value = await sink.put("task-1-0", JPEG)

    assert sink.link(value, base_url="http://host:8000") == f"http://host:8000/files/{value}"


@pytest.mark.parametrize(
    ("extension", "content_type"), [("jpg", "image/jpeg"), ("png", "image/png"), ("webp", "image/webp")]
)
async def test_content_type_comes_back(sink: FilesSink, extension: str, content_type: str) -> None:
    """A file is handed out under the media type it was put with."""
    image = EncodedImage(content=b"x", content_type=content_type, extension=extension)

    stored = await sink.open_link(await sink.put("task-1-0", image))

    assert stored.content_type == content_type


async def test_link_ends(sink: FilesSink, clock: Clock) -> None:
    """After its life time a link says that it is over, before the sweep and after it."""
    value = await sink.put("task-1-0", JPEG)
    clock.now += timedelta(seconds=60)

    with pytest.raises(LinkExpired):
        await sink.open_link(value)
    assert await sink.sweep() == 1
    with pytest.raises(LinkExpired):
        await sink.open_link(value)


async def test_link_holds_until_its_end(sink: FilesSink, clock: Clock) -> None:
    """A second before its end a file is handed out and survives the sweep."""
    value = await sink.put("task-1-0", JPEG)
    clock.now += timedelta(seconds=59)

    swept = await sink.sweep()

    assert swept == 0
    assert (await sink.open_link(value)).path.read_bytes() == b"jpeg"


async def test_unknown_file(sink: FilesSink) -> None:
    """A well-formed name of no file is unknown, which is not the same as over."""
    value = await sink.put("task-1-0", JPEG)
    other = value.replace(value[-36:-4], "0" * 32)

    with pytest.raises(LinkUnknown) as refusal:
        await sink.open_link(other)

    assert type(refusal.value) is LinkUnknown


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "../secret.jpg",
        "/etc/passwd",
        "{good}/../{good}",
        "./{good}",
        "{good}\n",
        "{good}\0",
        "{good}.part",
        "{good}.jpg",
        "..%2f{good}",
        "sub/{good}",
        "a" * 100_000,
        "\ud800",
    ],
)
async def test_other_name_leads_nowhere(sink: FilesSink, value: str) -> None:
    """Whatever is not exactly one of our names is unknown; nothing outside the folder can be reached."""
    good = await sink.put("task-1-0", JPEG)

    with pytest.raises(LinkUnknown):
        await sink.open_link(value.replace("{good}", good))


@pytest.mark.parametrize("ending", [".part", ".bak", "\n"])
async def test_other_file_in_the_folder_is_not_handed_out(sink: FilesSink, tmp_path: Path, ending: str) -> None:
    """A draft, or anything else that begins like one of our names, stays private though it exists."""
    value = await sink.put("task-1-0", JPEG) + ending
    (tmp_path / "outputs" / value).write_bytes(b"half a picture")

    with pytest.raises(LinkUnknown):
        await sink.open_link(value)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "a.b", "ä", "a" * 129])
async def test_bad_name_is_not_written(sink: FilesSink, tmp_path: Path, name: str) -> None:
    """A name that could not be opened again is refused before anything is written."""
    with pytest.raises(ValueError, match="cannot be part of a link"):
        await sink.put(name, JPEG)

    assert not (tmp_path / "outputs").exists()


async def test_sweep_takes_unfinished_files_and_leaves_strangers(sink: FilesSink, tmp_path: Path, clock: Clock) -> None:
    """What a killed writer left goes when its time is over; files that are not ours stay."""
    folder = tmp_path / "outputs"
    value = await sink.put("task-1-0", JPEG)
    (folder / value).rename(folder / f"{value}.part")
    (folder / "notes.txt").write_text("mine")
    clock.now += timedelta(seconds=61)

    swept = await sink.sweep()

    assert swept == 1
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


async def test_sweep_of_nothing(sink: FilesSink) -> None:
    """Before the first picture there is nothing to sweep, and that is fine."""
    assert await sink.sweep() == 0


async def test_only_whole_files_appear(sink: FilesSink, tmp_path: Path) -> None:
    """After a put the folder holds the finished file and no draft."""
    value = await sink.put("task-1-0", JPEG)

    assert [path.name for path in (tmp_path / "outputs").iterdir()] == [value]


async def test_full_disk_is_an_os_error(tmp_path: Path) -> None:
    """A folder that cannot be written is told as OSError, which is what the caller of a sink expects."""
    (tmp_path / "outputs").write_text("a file where the folder should be")
    sink = FilesSink(tmp_path / "outputs", ttl_s=60)

    with pytest.raises(OSError, match="outputs"):
        await sink.put("task-1-0", JPEG)


async def test_the_link_of_a_removed_file_leads_nowhere(sink: FilesSink, tmp_path: Path) -> None:
    """Nothing of it is on the disk, and its link is as unknown as any other."""
    value = await sink.put("task-1-0", JPEG)

    await sink.remove(value)

    assert list((tmp_path / "outputs").iterdir()) == []
    with pytest.raises(LinkUnknown):
        await sink.open_link(value)
