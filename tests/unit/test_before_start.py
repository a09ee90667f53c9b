"""What is refused before anything is started, as far as nobody has to be asked for it."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from deployments.before_start import check_grace, check_set_up, look_around, look_from_afar
from deployments.database.reached import DatabaseAway
from deployments.delivery.bucket import NoCredentials
from deployments.errors import UxoError
from deployments.serve_config import Arguments
from deployments.settings import Settings, SettingsInvalid

#: Where boto3 finds no credentials: no file, and nobody to ask.
NOBODY = {
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
}


@pytest.mark.parametrize(
    ("arguments", "wait_s", "is_needed"),
    [({}, 300.0, False), ({"grace_s": 301.0}, 300.0, True), ({"grace_s": 60.0}, 59.0, False)],
    ids=["a machine of one's own", "a second more", "short both"],
)
def test_a_grace_that_outlasts_calls_passes(arguments: dict[str, Any], wait_s: float, *, is_needed: bool) -> None:
    """A grace is longer than calls are held, or nobody spoke of one."""
    check_grace(Arguments(**arguments), Settings(sync_wait_s=wait_s), is_needed=is_needed)


@pytest.mark.parametrize(
    ("arguments", "is_needed", "reason"),
    [
        ({"grace_s": 300.0}, False, "args.grace_s is 300, and calls are held for UXO_SYNC_WAIT_S=300 seconds"),
        ({"grace_s": 60.0}, False, "args.grace_s is 60, "),
        ({}, True, "args.grace_s is 10, "),
    ],
    ids=["as long", "shorter", "not said, and several ingresses"],
)
def test_a_grace_that_cuts_calls_off_is_refused(arguments: dict[str, Any], reason: str, *, is_needed: bool) -> None:
    """Both numbers are named, and which has to be the larger one."""
    with pytest.raises(UxoError) as refusal:
        check_grace(Arguments(**arguments), Settings(), is_needed=is_needed)

    assert refusal.value.message.startswith(reason)
    assert refusal.value.message.endswith("make grace_s longer than that")


@pytest.mark.parametrize(
    ("fields", "variables", "reason"),
    [
        ({"secret": "short"}, {}, "UXO_SECRET cannot be used: it needs at least 32 characters"),
        ({"bootstrap_keys": "alice"}, {}, "UXO_BOOTSTRAP_KEYS cannot be used: entry 1 is not of the form tenant:key"),
        ({"bucket": "pictures"}, {}, "UXO_BUCKET is set, but there are no credentials for it; set AWS_ACCESS_KEY_ID"),
        ({"bucket": "pictures"}, {"AWS_ACCESS_KEY_ID": "a key"}, "AWS_SECRET_ACCESS_KEY"),
        ({"bucket": "pictures"}, {"AWS_PROFILE": "nobody's"}, "nobody's"),
        ({"database_url": "sqlite:///:memory:"}, {}, "UXO_DATABASE_URL cannot be used: it has to be like sqlite:////"),
    ],
    ids=["secret", "keys", "no credentials", "half of them", "no such profile", "database"],
)
def test_what_is_set_up_by_half_is_named(
    fields: dict[str, Any],
    variables: dict[str, str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variable that is wrong is named, and nothing is made in the folder."""
    for name, value in (NOBODY | variables).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(UxoError) as refusal:
        check_set_up(Settings(folder=tmp_path, **fields))

    assert reason in refusal.value.message
    assert not list(tmp_path.iterdir())


def test_no_part_of_a_password_is_shown() -> None:
    """What Serve's status shows of a mistyped URL, which is the whole traceback, holds nothing of it."""
    half = "se" * 8  # written otherwise here: a traceback shows the lines of this file, too
    settings = Settings(database_url=f"postgresql+asyncpg://uxo:one@{half}:{half}@db:5432/uxo")

    with pytest.raises(SettingsInvalid) as refusal:
        check_set_up(settings)

    shown = "".join(traceback.format_exception(refusal.value))
    assert "UXO_DATABASE_URL cannot be used" in shown
    assert half not in shown


async def test_a_database_that_is_away_stops_no_deploy(tmp_path: Path) -> None:
    """What is deployed waits for it by itself; whoever starts a machine of one's own is told at once."""
    settings = Settings(database_url="postgresql+asyncpg://uxo@127.0.0.1:1/uxo", folder=tmp_path, allow_open_ray=True)

    await look_from_afar(settings)

    with pytest.raises(DatabaseAway):
        await look_around(settings)


async def test_a_head_without_keys_of_the_bucket_stops_no_deploy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where keys come from a pod's role, the pod that composes may have none; half of them are a mistake anywhere."""
    for name, value in NOBODY.items():
        monkeypatch.setenv(name, value)
    settings = Settings(bucket="pictures", folder=tmp_path, allow_open_ray=True)

    await look_from_afar(settings)

    with pytest.raises(NoCredentials):
        await look_around(settings)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a key")
    with pytest.raises(SettingsInvalid, match="AWS_SECRET_ACCESS_KEY"):
        await look_from_afar(settings)


async def test_a_secret_that_no_machine_could_use_stops_a_deploy(tmp_path: Path) -> None:
    """What is wrong by itself is refused wherever it is read."""
    with pytest.raises(SettingsInvalid, match="UXO_SECRET"):
        await look_from_afar(Settings(secret="short", folder=tmp_path, allow_open_ray=True))
