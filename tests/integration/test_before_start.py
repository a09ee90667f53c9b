"""What real servers say to settings that cannot work, before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from postgresql_server import PostgresServer
from s3_server import ACCESS_KEY, SECRET_KEY, S3Server

from deployments.before_start import look_around, look_from_afar
from deployments.errors import UxoError
from deployments.settings import Settings


@pytest.fixture(autouse=True)
def shut_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ray ask for a token."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")


@pytest.fixture
def in_bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return settings of a bucket that there is, whose keys are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return {"bucket": s3.create_bucket(), "s3_endpoint": s3.url, "s3_region": "us-east-1", "s3_addressing": "path"}


async def test_what_is_there_passes(in_bucket: dict[str, Any], postgresql_url: str, tmp_path: Path) -> None:
    """A bucket and a database that answer are all that it takes."""
    await look_around(Settings(database_url=postgresql_url, folder=tmp_path, **in_bucket))


@pytest.mark.parametrize(
    ("variable", "fields", "reason"),
    [
        ("AWS_ACCESS_KEY_ID", {}, "it answered InvalidAccessKeyId; look at AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", {}, "it answered SignatureDoesNotMatch; look at AWS_SECRET_ACCESS_KEY"),
        ("ANY", {"bucket": "not-there"}, "UXO_BUCKET='not-there' cannot be used: it answered NoSuchBucket"),
    ],
)
async def test_a_bucket_that_will_never_do_is_named(
    in_bucket: dict[str, Any],
    variable: str,
    fields: dict[str, Any],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which setting is wrong is told from what the server answers."""
    monkeypatch.setenv(variable, "nobodys")

    with pytest.raises(UxoError) as refusal:
        await look_around(Settings(folder=tmp_path, **in_bucket | fields))

    assert reason in refusal.value.message
    await look_from_afar(Settings(folder=tmp_path, **in_bucket | fields))  # may be so on this machine alone


async def test_a_bucket_that_is_away_stops_nothing(in_bucket: dict[str, Any], tmp_path: Path) -> None:
    """Replicas wait for it, and whoever starts them may have no way to it."""
    await look_around(Settings(folder=tmp_path, **in_bucket | {"s3_endpoint": "http://127.0.0.1:1"}))


@pytest.mark.parametrize(
    ("database", "role", "reason"),
    [
        (
            "nowhere",
            "uxo",
            'cannot reach the database (database "nowhere" does not exist); it is named by UXO_DATABASE',
        ),
        ("postgres", "stranger", 'cannot reach the database (role "stranger" does not exist)'),
        ("postgres", "uxo", "run: uxo migrate"),
    ],
    ids=["no such database", "not let in", "no tables"],
)
async def test_a_database_that_will_not_do_is_named(
    postgresql: PostgresServer, database: str, role: str, reason: str, tmp_path: Path
) -> None:
    """The server's own words, or the command that brings its tables up to date."""
    url = postgresql.url(database).replace("uxo@", f"{role}@")

    for look in (look_around, look_from_afar):
        with pytest.raises(UxoError) as refusal:
            await look(Settings(database_url=url, folder=tmp_path))

        assert reason in refusal.value.message


async def test_a_deploy_to_an_open_ray_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy is, before anything else is looked at; what a machine of one's own looks at says nothing of it."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")

    with pytest.raises(UxoError, match="RAY_AUTH_MODE='disabled'"):
        await look_from_afar(Settings(folder=tmp_path))

    await look_around(Settings(folder=tmp_path))
