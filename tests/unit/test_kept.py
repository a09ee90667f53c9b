"""Pictures that callers send: what is taken, who may put it, and who finds it again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.delivery.files import FilesSink
from deployments.delivery.kept import GRANT_S, MAX_BYTES, GrantOver, KeptPictures
from deployments.errors import BadCall, BodyTooLarge, NotFound, Unauthenticated

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n and more"
JPEG = b"\xff\xd8\xff and more"
UUID = "6c3f9f3e-0a55-4f0c-8a3e-2b1a6a0c1f11"


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
def files(tmp_path: Path, clock: Clock) -> FilesSink:
    """Return a folder whose files live for a day."""
    return FilesSink(tmp_path / "outputs", ttl_s=24 * 3600, clock=clock)


@pytest.fixture
def kept(files: FilesSink) -> KeptPictures:
    """Return what keeps pictures in that folder."""
    return KeptPictures(files, secret="s" * 32)


async def test_what_is_kept_can_be_fetched(kept: KeptPictures, files: FilesSink) -> None:
    """The link of a kept picture leads to its bytes, with the type that they have."""
    value, image = await kept.keep(PNG, tenant_id="alice")

    assert (await files.open_link(value)).content_type == image.content_type == "image/png"
    assert await files.read(value) == PNG


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"<svg>", b"RIFF1234WAVE", b"\xff\xd8"])
async def test_only_pictures_are_kept(kept: KeptPictures, content: bytes) -> None:
    """What does not begin like a PNG, JPEG or WebP file is refused."""
    with pytest.raises(BadCall, match="no PNG, JPEG or WebP"):
        await kept.keep(content, tenant_id="alice")


async def test_a_large_picture_is_refused(kept: KeptPictures) -> None:
    """Beyond 20 MiB nothing is kept."""
    with pytest.raises(BodyTooLarge):
        await kept.keep(PNG + bytes(MAX_BYTES), tenant_id="alice")


async def test_a_uuid_is_ones_own(kept: KeptPictures, files: FilesSink) -> None:
    """A UUID leads its tenant to the picture in any spelling, and nobody else anywhere."""
    value, _ = await kept.keep(PNG, tenant_id="alice", uuid=UUID)

    assert await files.find(kept.name_of(UUID.upper(), tenant_id="alice")) == value
    assert await files.find(kept.name_of(UUID, tenant_id="bob")) is None


async def test_looking_for_one_lists_no_others(kept: KeptPictures, files: FilesSink, tmp_path: Path) -> None:
    """However many are kept, what is kept under one UUID lies alone, also when it is kept there again."""
    values = [(await kept.keep(PNG, tenant_id="alice", uuid=UUID))[0] for _ in range(2)]
    await kept.keep(PNG, tenant_id="alice")
    await kept.keep(PNG, tenant_id="bob", uuid=UUID)

    [folder] = {path.parent for path in tmp_path.rglob("*") if path.name in values}  # noqa: ASYNC240 -- nothing else runs

    assert sorted(path.name for path in folder.iterdir()) == sorted(values)
    assert await files.find(kept.name_of(UUID, tenant_id="alice")) in values


async def test_what_an_older_version_kept_is_found(
    kept: KeptPictures, files: FilesSink, tmp_path: Path, clock: Clock
) -> None:
    """Its link leads to it at once, its UUID after the next sweep; and it ends when it was to."""
    value = files.new_value(kept.name_of(UUID, tenant_id="alice"), "png")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / value).write_bytes(PNG)

    before = await files.read(value)
    swept = await files.sweep()
    after = await files.find(kept.name_of(UUID, tenant_id="alice"))
    clock.now += timedelta(days=2)

    assert (before, swept, after) == (PNG, 0, value)
    assert await files.sweep() == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # noqa: ASYNC240 -- nothing else runs


async def test_a_kept_picture_can_be_dropped_by_its_tenant(kept: KeptPictures, files: FilesSink) -> None:
    """Afterwards it is there for nobody; a stranger's drop finds nothing."""
    value, _ = await kept.keep(PNG, tenant_id="alice", uuid=UUID)

    with pytest.raises(NotFound):
        await kept.drop(UUID, tenant_id="bob")
    assert await files.read(value) == PNG

    await kept.drop(UUID, tenant_id="alice")

    assert await files.find(kept.name_of(UUID, tenant_id="alice")) is None


@pytest.mark.parametrize("content_type", ["image/png", "image/png; charset=x", "application/octet-stream"])
async def test_a_granted_address_takes_one_picture(kept: KeptPictures, files: FilesSink, content_type: str) -> None:
    """The first PUT is kept under the value that was promised; a second one is refused and changes nothing."""
    grant = kept.grant(content_type)

    await kept.receive(grant.value, grant.token, PNG)
    with pytest.raises(GrantOver):
        await kept.receive(grant.value, grant.token, PNG + b"again")

    assert await files.read(grant.value) == PNG


async def test_a_grant_is_for_what_was_announced(kept: KeptPictures) -> None:
    """A picture of another kind is refused, and so is a type that is no picture's."""
    grant = kept.grant("image/png")

    with pytest.raises(BadCall, match="not what was announced"):
        await kept.receive(grant.value, grant.token, JPEG)
    with pytest.raises(BadCall, match="content_type"):
        kept.grant("text/html")


async def test_a_grant_ends(kept: KeptPictures, clock: Clock) -> None:
    """After an hour nothing is taken."""
    grant = kept.grant("image/png")
    clock.now += timedelta(seconds=GRANT_S + 1)

    with pytest.raises(GrantOver):
        await kept.receive(grant.value, grant.token, PNG)


async def test_a_grant_cannot_be_made_up(kept: KeptPictures) -> None:
    """Neither a later end nor another file can be written into it."""
    grant, other = kept.grant("image/png"), kept.grant("image/png")
    until, _, signature = grant.token.partition("-")
    later = f"{int(until) + 9999}-{signature}"

    for value, token in [(grant.value, later), (other.value, grant.token), (grant.value, "x"), ("../x.png", later)]:
        with pytest.raises(GrantOver):
            await kept.receive(value, token, PNG)


def test_a_token_stands_for_its_tenant_until_it_ends(kept: KeptPictures, clock: Clock) -> None:
    """It says whose pictures are kept; changed, foreign and old ones are no tokens."""
    token, _ = kept.token_for("alice")

    assert kept.tenant_of(token) == "alice"
    for other in [token.replace("alice", "bob"), "x", "", token + "2", f"9{token}"]:
        with pytest.raises(Unauthenticated):
            kept.tenant_of(other)
    clock.now += timedelta(seconds=GRANT_S + 1)
    with pytest.raises(Unauthenticated):
        kept.tenant_of(token)
