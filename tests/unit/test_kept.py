"""Pictures that callers send: what is taken, who may put it, and who finds it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.database.database import Database, open_database
from deployments.delivery.files import FilesSink
from deployments.delivery.kept import GRANT_S, MAX_BYTES, Grant, GrantOver, KeptPictures
from deployments.delivery.kept_space import KeptSpace
from deployments.delivery.sink import EncodedImage
from deployments.errors import BadCall, BodyTooLarge, NotFound, QuotaExceeded, Unauthenticated
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.tenant import Tenant

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
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Return a database with two tenants, Alice and Bob."""
    database = await open_database(f"sqlite:///{tmp_path / 'kept.db'}")
    for tenant_id in ("alice", "bob"):
        await TenantDirectory(database).ensure(tenant_id)
    yield database
    await database.close()


@pytest.fixture
def space(database: Database) -> KeptSpace:
    """Return what counts the bytes of each tenant."""
    return KeptSpace(database)


@pytest.fixture
def kept(files: FilesSink, space: KeptSpace) -> KeptPictures:
    """Return what keeps pictures in that folder."""
    return KeptPictures(files, space, secret="s" * 32)


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
    assert [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()] == []


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
    grant = await kept.grant(content_type, tenant_id="alice")

    await kept.receive(grant.value, grant.token, PNG)
    with pytest.raises(GrantOver):
        await kept.receive(grant.value, grant.token, PNG + b"again")

    assert await files.read(grant.value) == PNG


async def test_a_grant_is_for_what_was_announced(kept: KeptPictures) -> None:
    """A picture of another kind is refused, and so is a type that is no picture's."""
    grant = await kept.grant("image/png", tenant_id="alice")

    with pytest.raises(BadCall, match="not what was announced"):
        await kept.receive(grant.value, grant.token, JPEG)
    with pytest.raises(BadCall, match="content_type"):
        await kept.grant("text/html", tenant_id="alice")


async def test_a_grant_ends(kept: KeptPictures, clock: Clock) -> None:
    """After an hour nothing is taken."""
    grant = await kept.grant("image/png", tenant_id="alice")
    clock.now += timedelta(seconds=GRANT_S + 1)

    with pytest.raises(GrantOver):
        await kept.receive(grant.value, grant.token, PNG)


async def test_a_grant_cannot_be_made_up(kept: KeptPictures) -> None:
    """Neither a later end nor another file can be written into it."""
    grant, other = await kept.grant("image/png", tenant_id="alice"), await kept.grant("image/png", tenant_id="alice")
    until, _, signature = grant.token.partition("-")
    later = f"{int(until) + 9999}-{signature}"

    for value, token in [(grant.value, later), (other.value, grant.token), (grant.value, "x"), ("../x.png", later)]:
        with pytest.raises(GrantOver):
            await kept.receive(value, token, PNG)


async def test_a_token_stands_for_its_tenant_until_it_ends(kept: KeptPictures, clock: Clock) -> None:
    """It says whose pictures are kept; changed, foreign and old ones are no tokens."""
    token, _ = kept.token_for("alice")

    assert kept.tenant_of(token) == "alice"
    for other in [token.replace("alice", "bob"), "x", "", token + "2", f"9{token}"]:
        with pytest.raises(Unauthenticated):
            kept.tenant_of(other)
    clock.now += timedelta(seconds=GRANT_S + 1)
    with pytest.raises(Unauthenticated):
        kept.tenant_of(token)


async def limit(database: Database, max_kept: int | None) -> None:
    """Let Alice keep so many bytes."""
    await TenantDirectory(database).change(Tenant(id="alice", max_kept=max_kept))


async def test_of_racing_puts_of_one_grant_one_is_kept(kept: KeptPictures, files: FilesSink) -> None:
    """However many arrive together, one is told that it is kept, and what it sent is there."""
    grant = await kept.grant("image/png", tenant_id="alice")
    sent = [PNG + bytes([number]) for number in range(8)]

    came = await asyncio.gather(
        *(kept.receive(grant.value, grant.token, each) for each in sent), return_exceptions=True
    )

    [winner] = [number for number, one in enumerate(came) if isinstance(one, EncodedImage)]
    assert {type(one) for one in came} == {EncodedImage, GrantOver}
    assert await files.read(grant.value) == sent[winner]


async def test_of_racing_writers_of_one_file_one_is_first(files: FilesSink) -> None:
    """The folder itself lets one through, also where nobody asks before, and leaves no draft."""
    value = files.new_value("kept-" + "a" * 32, "png")
    images = [EncodedImage(content=PNG + bytes([n]), content_type="image/png", extension="png") for n in range(8)]

    first = await asyncio.gather(*(files.put_once(value, image) for image in images))
    late = await files.put_once(value, images[7])

    assert (first.count(True), late) == (1, False)
    assert await files.read(value) == images[first.index(True)].content


async def test_a_grant_holds_whose_picture_could_not_be_written(
    kept: KeptPictures, files: FilesSink, tmp_path: Path
) -> None:
    """While the disk takes nothing the PUT fails; the same one succeeds afterwards."""
    grant = await kept.grant("image/png", tenant_id="alice")
    (tmp_path / "outputs").write_text("a file where the folder should be")

    with pytest.raises(OSError, match="outputs"):
        await kept.receive(grant.value, grant.token, PNG)
    (tmp_path / "outputs").unlink()
    await kept.receive(grant.value, grant.token, PNG)

    assert await files.read(grant.value) == PNG


async def test_what_could_not_be_written_takes_no_room(kept: KeptPictures, database: Database, tmp_path: Path) -> None:
    """A picture that the disk did not take is not counted."""
    await limit(database, len(PNG))
    (tmp_path / "outputs").write_text("a file where the folder should be")

    with pytest.raises(OSError, match="outputs"):
        await kept.keep(PNG, tenant_id="alice")
    (tmp_path / "outputs").unlink()

    assert await kept.keep(PNG, tenant_id="alice")


async def test_a_tenant_keeps_as_much_as_it_may(kept: KeptPictures, database: Database, clock: Clock) -> None:
    """Beyond its limit it is told when there is room again, and nobody else is; then there is."""
    await limit(database, 2 * len(PNG))
    for _ in range(2):
        await kept.keep(PNG, tenant_id="alice")
        clock.now += timedelta(hours=1)

    with pytest.raises(QuotaExceeded) as refusal:
        await kept.keep(PNG, tenant_id="alice")
    await kept.keep(PNG, tenant_id="bob")
    assert refusal.value.retry_after_s == 22 * 3600
    clock.now += timedelta(hours=22)

    assert await kept.keep(PNG, tenant_id="alice")


async def test_what_is_dropped_makes_room(kept: KeptPictures, database: Database) -> None:
    """All that lay under a UUID is free again."""
    await limit(database, 2 * len(PNG))
    for _ in range(2):
        await kept.keep(PNG, tenant_id="alice", uuid=UUID)

    await kept.drop(UUID, tenant_id="alice")

    assert [await kept.keep(PNG, tenant_id="alice") for _ in range(2)]


async def test_a_grant_holds_room_until_it_is_used_or_over(
    kept: KeptPictures, database: Database, clock: Clock
) -> None:
    """It holds as much as the largest picture; used, as much as its picture; over, nothing."""
    await limit(database, MAX_BYTES)
    grant = await kept.grant("image/png", tenant_id="alice")

    with pytest.raises(QuotaExceeded) as refusal:
        await kept.grant("image/png", tenant_id="alice")
    await kept.receive(grant.value, grant.token, PNG)
    await kept.keep(PNG, tenant_id="alice")
    await limit(database, MAX_BYTES + 2 * len(PNG))
    await kept.grant("image/png", tenant_id="alice")
    clock.now += timedelta(seconds=GRANT_S)

    assert refusal.value.retry_after_s == GRANT_S
    assert await kept.grant("image/png", tenant_id="alice")


@pytest.mark.parametrize("max_kept", [0, len(PNG) - 1])
async def test_what_never_fits_is_told_so(kept: KeptPictures, database: Database, max_kept: int) -> None:
    """A picture of more than a tenant may keep in all is too large, however long it waits, by either way."""
    await limit(database, max_kept)

    with pytest.raises(BodyTooLarge, match="in all"):
        await kept.keep(PNG, tenant_id="alice")
    with pytest.raises(BodyTooLarge, match="in all"):
        await put_granted(kept)


async def put_granted(kept: KeptPictures) -> Grant:
    """Have an address granted, and put a picture there."""
    grant = await kept.grant("image/png", tenant_id="alice")
    await kept.receive(grant.value, grant.token, PNG)
    return grant


async def test_without_a_limit_anything_is_kept(kept: KeptPictures, database: Database) -> None:
    """Nothing is refused where an operator has lifted the limit."""
    await limit(database, None)

    assert [await put_granted(kept) for _ in range(3)]


async def test_a_tenant_that_is_gone_keeps_nothing(kept: KeptPictures) -> None:
    """Nothing is kept for a name that nobody has any more."""
    with pytest.raises(Unauthenticated):
        await kept.keep(PNG, tenant_id="carol")


async def test_what_has_ended_is_forgotten(kept: KeptPictures, space: KeptSpace, clock: Clock) -> None:
    """Rows go with the time of their pictures, of unused grants too; what is alive stays."""
    await kept.keep(PNG, tenant_id="alice")
    await kept.grant("image/png", tenant_id="alice")
    clock.now += timedelta(hours=2)
    first = await space.forget(now_s=clock.now.timestamp())
    clock.now += timedelta(hours=22)

    second = await space.forget(now_s=clock.now.timestamp())

    assert (first, second) == (1, 1)
